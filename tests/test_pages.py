"""The pages as a whole: links lead somewhere, all is near the way in, tables are current, shown files are valid."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import jsonschema
import pytest
from documented import PAGES

REPOSITORY = Path(__file__).parents[1]
CHECKED = (*PAGES, "CHANGELOG.md", "CONTRIBUTING.md")
WAY_IN = "docs/index.md"
MOST_CLICKS = 3
LONGEST_LINE = 120


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """A page without its code: in blocks, indented and within sentences."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ {4}.*$|<!--.*?-->", "", text, flags=re.MULTILINE)


def links(page: str) -> list[str]:
    text = re.sub(r"\[`[^`\]]*`\]", "[code]", without_code(text_of(page)))
    text = re.sub(r"`[^`]*`", "", text)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", link)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", without_code(text_of(page)), re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{anchor}-{count}" if (count := found.count(anchor)) else anchor)
    return set(found)


def target(page: str, link: str) -> Path:
    """The file that a link of a page leads to."""
    path = link.partition("#")[0]
    return ((REPOSITORY / page).parent / path).resolve() if path else (REPOSITORY / page).resolve()


@pytest.mark.parametrize("page", CHECKED)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    for link in links(page):
        file, anchor = target(page, link), link.partition("#")[2]
        assert file.is_relative_to(REPOSITORY), link
        assert file.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(str(file.relative_to(REPOSITORY))), f"{page}: {link}"


def clicks() -> dict[str, int]:
    """How many clicks each page is from the way in."""
    found, latest = {WAY_IN: 0}, [WAY_IN]
    while latest:
        following = []
        for page in latest:
            for link in links(page):
                file = target(page, link)
                to = str((file / "README.md" if file.is_dir() else file).relative_to(REPOSITORY))
                if to in PAGES and to not in found:
                    found[to] = found[page] + 1
                    following.append(to)
        latest = following
    return found


def test_every_page_is_near_the_way_in() -> None:
    found = clicks()
    far = {page for page in PAGES if found.get(page, MOST_CLICKS + 1) > MOST_CLICKS}
    assert far - {"README.md"} == set()
    for sought in ("docs/how-to/tune-policy.md", "docs/reference/messages.md", "docs/how-to/add-a-sensor.md"):
        assert found[sought] == 1


def test_readme_leads_to_the_way_in() -> None:
    assert WAY_IN in links("README.md")
    assert len(text_of("README.md").splitlines()) <= 160


def test_generated_tables_are_current() -> None:
    spec = spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    for page, text in generate.pages().items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run python docs/generate.py"


def shown_files(page: str) -> Iterator[str]:
    for block in re.findall(r"^( *)```toml\n(.*?)^ *```", text_of(page), re.DOTALL | re.MULTILINE):
        yield re.sub(rf"^{block[0]}", "", block[1], flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_shown_files_are_valid(page: str) -> None:
    """Each is a configuration, a policy or a relay's configuration, or a part of one."""
    schemas = [
        json.loads((REPOSITORY / f"docs/schemas/{kind}.json").read_text(encoding="utf-8"))
        for kind in ("configuration", "policy", "relay")
    ]
    for text in shown_files(page):
        told = tomllib.loads(text)
        errors = [jsonschema.Draft202012Validator(schema).iter_errors(told) for schema in schemas]
        assert any(next(found, None) is None for found in errors), text


@pytest.mark.parametrize("page", CHECKED)
def test_lines_of_prose_fit(page: str) -> None:
    for line in without_code(text_of(page)).splitlines():
        assert len(line) <= LONGEST_LINE or line.lstrip().startswith("|"), line
