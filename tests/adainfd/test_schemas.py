import json
import tomllib
from pathlib import Path

import pytest
from adainfd import schemas
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_schema_files_say_what_the_types_say(kind: str) -> None:
    text = (FOLDER / f"{kind}.json").read_text(encoding="utf-8")
    assert text == schemas.text(kind), "run: python -m adainfd.schemas docs/schemas"
    Draft202012Validator.check_schema(json.loads(text))


def test_written_schemas_are_those(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in FOLDER.glob("*.json")}


@pytest.mark.parametrize("file", sorted((FOLDER.parents[1] / "calibration" / "policies").glob("*.toml")))
def test_shipped_policies_satisfy_their_schema(file: Path) -> None:
    Draft202012Validator(schemas.schema("policy")).validate(tomllib.loads(file.read_text(encoding="utf-8")))
