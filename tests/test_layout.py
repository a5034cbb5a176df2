"""The source stays easy to find one's way in: short modules, small folders, each class name once."""

import ast
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ROOTS = (REPOSITORY / "adainf", REPOSITORY / "daemon" / "adainfd")
MODULES = [module for root in ROOTS for module in sorted(root.rglob("*.py"))]
MOST_LINES, MOST_MODULES = 400, 12


def test_no_module_is_long() -> None:
    lines = {str(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_no_folder_is_crowded() -> None:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        if not module.name.startswith("__"):
            modules[str(module.parent)].append(module.name)
    assert {folder: names for folder, names in modules.items() if len(names) > MOST_MODULES} == {}


def test_each_class_name_means_one_thing() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
