"""Writes the generated parts of docs/reference/: `python docs/generate.py`; tests/test_pages.py says when to.

Commands come from click, keys and fields from the JSON Schemas in docs/schemas/, their meaning from docs/fields.toml.
A page keeps what is written by hand; a table is replaced between its marks.
"""

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from adainfd.cli import adainfd

import adainf as library
from adainf.cli import cli as adainf

__all__ = ["pages"]

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
PROGRAMS: dict[str, click.Group] = {"adainf": adainf, "adainfd": adainfd}
FILES = ("configuration", "policy", "relay")
MESSAGES = ("result", "event", "state", "status")
_MOST_TOLD = 1_000_000

Schema = Mapping[str, Any]


def pages() -> dict[Path, str]:
    """Each page that has a generated part, as it should read."""
    meanings = tomllib.loads((DOCS / "fields.toml").read_text(encoding="utf-8"))
    written = {REFERENCE / f"{name}.md": commands_page(name, program) for name, program in PROGRAMS.items()}
    for kind in FILES:
        written[REFERENCE / f"{kind}.md"] = filled(REFERENCE / f"{kind}.md", dict(file_tables(kind, meanings)))
    written[REFERENCE / "python.md"] = library_page()
    written[REFERENCE / "messages.md"] = filled(REFERENCE / "messages.md", dict(message_tables(meanings)))
    return written


def filled(page: Path, tables: Mapping[str, str]) -> str:
    """The page with its tables between their marks; each table has its place, and each place its table."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- docs/generate.py {name}: begin -->", f"<!-- docs/generate.py {name}: end -->"
        before, found, rest = text.partition(begin)
        if not found:
            raise ValueError(f"{page}: has no mark {begin}")
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    places = text.count("<!-- docs/generate.py ")
    if places != 2 * len(tables):
        raise ValueError(f"{page}: {places // 2} places for {len(tables)} tables")
    return text


def file_tables(kind: str, meanings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and table of each section of a file; the keys that stand in no section are called by the file's kind."""
    schema = read(kind)
    told, own = meanings[kind], list[tuple[str, Schema]]()
    for name, field in schema["properties"].items():
        section = section_of(field, schema["$defs"])
        if section is None:
            own.append((name, field))
        else:
            yield name, keys_table(kind, name, section, schema["$defs"], told.pop(name, {}))
    if own:
        properties = {"properties": dict(own)}
        yield kind, keys_table(kind, kind, properties, schema["$defs"], {name: told.pop(name, "") for name, _ in own})
    if told:
        raise ValueError(f"docs/fields.toml: {kind} has no {', '.join(told)}")


def section_of(field: Schema, defs: Mapping[str, Schema]) -> Schema | None:
    """The section that a field of a file holds, alone or as one of many; None where it is a key."""
    choices = [choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
    inner = choices[0].get("items", choices[0])
    return defs[inner["$ref"].rpartition("/")[2]] if "$ref" in inner else None


def keys_table(kind: str, section: str, schema: Schema, defs: Mapping[str, Schema], meanings: Mapping[str, str]) -> str:
    """Key, type, default and meaning."""
    missing = set(schema["properties"]) ^ set(meanings)
    if missing:
        raise ValueError(f"docs/fields.toml: {kind}.{section}: {', '.join(sorted(missing))}: missing, or no such key")
    required = schema.get("required", ())
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else default_of(field)
        lines.append(f"| `{name}` | {type_of(field, defs, nullable=False)} | {default} | {meanings[name]} |")
    return "\n".join(lines)


def message_tables(meanings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and table of each kind of message, and of each structure in them."""
    structures: dict[str, Schema] = {}
    for kind in MESSAGES:
        structures |= read(kind)["$defs"]
    superfluous = set(meanings["messages"]) - set(structures) - {"common"}
    if superfluous:
        raise ValueError(f"docs/fields.toml: messages have no {', '.join(sorted(superfluous))}")
    for name, structure in structures.items():
        told = meanings["messages"].get(name, {})
        lines = ["| field | type | meaning |", "|---|---|---|"]
        for field, schema in structure["properties"].items():
            meaning = told.get(field) or meanings["messages"]["common"].get(field) or schema.get("description")
            if meaning is None:
                raise ValueError(f"docs/fields.toml: messages.{name}.{field}: missing")
            lines.append(f"| `{field}` | {type_of(schema, structures, nullable=True)} | {meaning} |")
        unknown = set(told) - set(structure["properties"])
        if unknown:
            raise ValueError(f"docs/fields.toml: messages.{name}: no field {', '.join(sorted(unknown))}")
        yield name, "\n".join(lines)


def read(kind: str) -> dict[str, Any]:
    """One of the JSON Schemas."""
    schema: dict[str, Any] = json.loads((DOCS / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    return schema


def type_of(schema: Schema, defs: Mapping[str, Schema], *, nullable: bool) -> str:
    """A type in words, with its bounds."""
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        names = list(dict.fromkeys(type_of(choice, defs, nullable=nullable) for choice in choices))
        return ", or ".join(names + ["null"] * (nullable and len(choices) < len(schema["anyOf"])))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if nullable else type_of(defs[name], defs, nullable=False)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join("null" if value is None else f"`{json.dumps(value)}`" for value in values)
    kind = schema.get("type", "any")
    if kind == "array":
        return array_type(schema, defs, nullable=nullable)
    if kind == "object" and "additionalProperties" in schema and schema["additionalProperties"]:
        return f"table of names to {type_of(schema['additionalProperties'], defs, nullable=nullable)}"
    named = {"boolean": "true or false", "string": "text", "object": "table"}.get(kind, kind)
    if schema.get("format") == "path":
        named = "path"
    return f"{named}{bounds_of(schema)}"


def array_type(schema: Schema, defs: Mapping[str, Schema], *, nullable: bool) -> str:
    """A list in words."""
    if "prefixItems" in schema:
        items = [type_of(item, defs, nullable=nullable) for item in schema["prefixItems"]]
        return f"[{'; '.join(items)}]" if len(set(items)) > 1 else f"list of {len(items)} × {items[0]}"
    return f"list of {type_of(schema['items'], defs, nullable=nullable)}"


def bounds_of(schema: Schema) -> str:
    """The bounds of a number, as `, 0 to 1`."""
    least, most = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    # Beyond that a bound keeps messages finite, and tells nobody anything.
    most_text = None if most is None or most > _MOST_TOLD else f"{most:,.9g}"
    if above is not None:
        return f", above {above:g}" + ("" if most_text is None else f", at most {most_text}")
    if least is not None and most_text is not None:
        return f", {least:g} to {most_text}"
    return "" if least is None else f", at least {least:g}"


def default_of(field: Schema) -> str:
    """The default as it would stand in a file; a dash where there is none."""
    default = field.get("default")
    return "–" if default is None or default in ([], {}) else f"`{json.dumps(default)}`"


def library_page() -> str:
    """The public names of the library, with their docstrings."""
    parts = [
        "# `adainf`: the library",
        "<!-- Written by docs/generate.py from the docstrings: edit these, then run it again. -->",
        prose(library.__doc__ or ""),
        "\n".join(f"- [`{name}`](#{name.lower()})" for name in library.__all__),
    ]
    for name in library.__all__:
        value = getattr(library, name)
        parts += [f"## {name}", signature(name, value), prose(value.__doc__ or "")]
        for method, member in members(value):
            shown = f"{name}.{method}"
            called = f"{name}(…)" if method == "__call__" else shown
            parts += [f"### {called}", signature(method, member), prose(member.__doc__ or "")]
    return "\n\n".join(part for part in parts if part) + "\n"


def members(value: object) -> Iterator[tuple[str, Any]]:
    """The public methods that a class of ours defines and explains."""
    if not inspect.isclass(value) or issubclass(value, BaseException):
        return
    for name, member in vars(value).items():
        function = getattr(value, name) if isinstance(member, classmethod) else member
        if inspect.isroutine(function) and function.__doc__ and (name == "__call__" or not name.startswith("_")):
            yield name, function


def signature(name: str, value: object) -> str:
    """How it is called; nothing for errors, which are caught."""
    if inspect.isclass(value) and (issubclass(value, BaseException) or hasattr(value, "model_fields")):
        return ""
    told = str(inspect.signature(value)) if callable(value) else ""
    told = re.sub(r"<function .*? at 0x[0-9a-f]+>", "…", told)
    told = re.sub(r"\b(?:[a-z_]+\.)+(?=\w)", "", told).replace(
        "ndarray[tuple[Any, ...], dtype[uint8]]", "NDArray[uint8]"
    )
    told = re.sub(r"\((?:self(?:, )?)", "(", told).replace("'", '"').removesuffix(" -> None")
    return f"```text\n{name}{told}\n```"


def prose(docstring: str) -> str:
    """A docstring as Markdown: its examples stand in blocks."""
    lines, shown = [], False
    for line in inspect.cleandoc(docstring).splitlines():
        example = line.startswith((">>>", "..."))
        if example != shown:
            lines += ["```python" if example else "```"] if example or lines else []
            shown = example
        lines.append(line)
    return "\n".join(lines + ["```"] * shown)


def commands_page(name: str, program: click.Group) -> str:
    """All commands of a program."""
    parts = [
        f"# `{name}`: command line",
        "<!-- Written by docs/generate.py from the program itself: edit the program, then run it again. -->",
    ]
    for path, command in commands(name, program):
        context = click.Context(command, info_name=path)
        parts.append(f"## {path}")
        parts.append(in_cells(inspect.cleandoc(command.help or "")))
        parts.append(f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```")
        if rows := options(command, context):
            parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
        if isinstance(command, click.Group):
            listed = command.list_commands(context)
            parts.append("\n".join(f"- [`{path} {each}`](#{path.replace(' ', '-')}-{each})" for each in listed))
    return "\n\n".join(parts) + "\n"


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, by name."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            if (child := command.get_command(context, name)) is not None:
                yield from commands(f"{path} {name}", child)


def options(command: click.Command, context: click.Context) -> list[str]:
    """A row for each option, but those that every command has."""
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        names, meaning = record or ("", "")
        if meaning:
            rows.append(f"| `{in_cells(names)}` | {in_cells(' '.join(meaning.split()))} |")
    return rows


def in_cells(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.strip().replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    changed = 0
    for page, text in pages().items():
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            changed += 1
    sys.stdout.write(f"{changed} pages changed\n")
