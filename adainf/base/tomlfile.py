"""TOML files that an owner edits: read, checked against their model, and refused with one clear line."""

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator

from adainf.base import documents
from adainf.base.credentials import without_credentials
from adainf.base.errors import InvalidInputError, one_line

__all__ = ["NamedPath", "Section", "checked", "explain", "load", "read", "refusing", "validated"]


Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A table of such a file: unknown keys are refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, told: object) -> object:
        # TOML can write it, and no path, address or name can have it: the system's calls end at it or refuse it.
        texts = told if isinstance(told, list | tuple) else [told]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("must not have the character U+0000 in it")
        return told


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """In a validator: what is wrong by InvalidInputError is wrong by what pydantic expects."""
    try:
        yield
    except InvalidInputError as error:
        raise ValueError(str(error)) from None


def checked(check: Callable[[str], object]) -> AfterValidator:
    """For a field of text that must pass `check`, which raises InvalidInputError."""

    def validate(text: str) -> str:
        with refusing():
            check(text)
        return text

    return AfterValidator(validate)


def _not_empty(told: object) -> object:
    if told == "":
        raise ValueError("must not be empty")  # it would be the folder that the program was started in
    return told


NamedPath = Annotated[Path, BeforeValidator(_not_empty)]
"""For a field that names a file or folder."""


def load(path: Path, kind: str) -> dict[str, Any]:
    """What stands in the file; raises InvalidInputError where that cannot be read or is not TOML."""
    return documents.toml_file(path, kind)


def read(path: Path, kind: str, model: type[Model]) -> Model:
    """The file at `path` as `model`; raises InvalidInputError naming file, key, value and what is allowed."""
    return validated(load(path, kind), path, kind, model)


def validated(loaded: Mapping[str, Any], path: Path, kind: str, model: type[Model]) -> Model:
    """What `load` found at `path` as `model`, for a file that can be read once only, as a pipe; raises as `read`."""
    with documents.refusing(f"{kind} {path}"):
        try:
            return model.model_validate(loaded)
        except ValidationError as error:
            raise InvalidInputError(f"{kind} {path}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing wrong, as `key: value: what is allowed`."""
    errors = error.errors()
    # A key that is missing may be the one that is misspelt.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    key = ".".join(_shown(part) for part in first["loc"])
    message = one_line(first["msg"].removeprefix("Value error, "))
    match first["type"]:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            return f"{key}: unknown key; {_known(first['loc'], model)}"
        case _:
            # A whole table says nothing that its key does not, and any value may be a camera's address.
            whole = isinstance(first["input"], Mapping | BaseModel)
            value = "" if whole else _value(first["input"])
            text = f"{message[:1].lower()}{message[1:]}"
            return ": ".join(part for part in (key, value, text) if part)


def _value(told: object) -> str:
    try:
        text = repr(told)
    except ValueError:  # of whole numbers Python writes 4300 digits at most
        text = "a number of too many digits"
    return one_line(without_credentials(text), 80)


def _shown(part: int | str) -> str:
    """A key as it may stand in a line: whatever may be one, line breaks and addresses too."""
    text = without_credentials(str(part))
    return one_line(text if text.isprintable() else repr(text), 80)


def _known(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    section: Any = model
    for part in location[:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    keys = [field.alias or name for name, field in section.model_fields.items()]
    nearest = difflib.get_close_matches(str(location[-1]), keys, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"allowed are {', '.join(keys)}"


def _section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        section for argument in getattr(annotation, "__args__", ()) if (section := _section_of(argument)) is not None
    )
