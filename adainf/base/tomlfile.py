"""TOML files edited by an owner: read, validated against a model, and rejected with a one-line error."""

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
    """A table of a TOML file: unknown keys are rejected, and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: object) -> object:
        # TOML can express U+0000, but no path, address or name can hold it: system calls stop at it or reject it.
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("must not have the character U+0000 in it")
        return value


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn an InvalidInputError raised in a validator into the ValueError that pydantic expects."""
    try:
        yield
    except InvalidInputError as error:
        raise ValueError(str(error)) from None


def checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a pydantic validator for a text field from `check`, which raises InvalidInputError."""

    def validate(text: str) -> str:
        with refusing():
            check(text)
        return text

    return AfterValidator(validate)


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")  # an empty path would mean the working directory
    return value


NamedPath = Annotated[Path, BeforeValidator(_not_empty)]
"""The type of a field that names a file or folder."""


def load(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a TOML file; raises InvalidInputError if it cannot be read or is not TOML."""
    return documents.toml_file(path, kind)


def read(path: Path, kind: str, model: type[Model]) -> Model:
    """Read the file at `path` as `model`; raises InvalidInputError naming file, key, value and what is allowed."""
    return validated(load(path, kind), path, kind, model)


def validated(loaded: Mapping[str, Any], path: Path, kind: str, model: type[Model]) -> Model:
    """Validate what `load` read from `path`, as for a pipe, which can be read only once; raises as `read` does."""
    with documents.refusing(f"{kind} {path}"):
        try:
            return model.model_validate(loaded)
        except ValidationError as error:
            raise InvalidInputError(f"{kind} {path}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem as `key: value: what is allowed`."""
    errors = error.errors()
    # An unknown key comes first: a key that is reported missing may just be misspelt.
    first = next((problem for problem in errors if problem["type"] == "extra_forbidden"), errors[0])
    key = ".".join(_shown(part) for part in first["loc"])
    message = one_line(first["msg"].removeprefix("Value error, "))
    match first["type"]:
        case "missing":
            return f"{key}: is missing"
        case "extra_forbidden":
            return f"{key}: unknown key; {_known(first['loc'], model)}"
        case _:
            # A whole table adds nothing to its key; any other value may be a camera's address with credentials.
            whole = isinstance(first["input"], Mapping | BaseModel)
            value = "" if whole else _value(first["input"])
            text = f"{message[:1].lower()}{message[1:]}"
            return ": ".join(part for part in (key, value, text) if part)


def _value(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes integers of at most 4300 digits
        text = "a number of too many digits"
    return one_line(without_credentials(text), 80)


def _shown(part: int | str) -> str:
    """Return a key as printable text: any string may be a key, even line breaks and addresses with credentials."""
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
