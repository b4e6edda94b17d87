"""docs/architecture.md's tables of modules against the modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rayjobs"
TEXT = (PACKAGE.parent / "docs" / "architecture.md").read_text().split("## Which module imports what")[1]
VOCABULARY, TABLE = TEXT.split("| module |")
WORDS = set(re.findall(r"`([^`]+)`", VOCABULARY))


def _imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rayjobs":
            path = node.module.replace(".", "/").removeprefix("rayjobs").removeprefix("/")
            if path in ("", "spark", "store", "web"):
                found |= {f"{path}/{alias.name}".removeprefix("/") for alias in node.names}
            else:
                found.add(path)
    return found - {"__version__"}


def _modules() -> dict[str, set[str]]:
    """What each module imports of ours; `store/` and `web/` as one module each."""
    modules: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).with_suffix("").as_posix()
        if not file.name.startswith("__"):
            name = re.sub(r"^(store|web)/.*", r"\1/", name)
            modules.setdefault(name, set()).update(_imported(file))
    modules["store/"] = {name for name in modules["store/"] if not name.startswith("store/")}
    modules["web/"] = {name for name in modules["web/"] if not name.startswith("web/")}
    return modules


def test_the_table_says_what_each_module_imports():
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", TABLE, re.MULTILINE)
    table = {
        module: {re.sub(r"^web/.*", "web/", name) for name in re.findall(r"`([^`]+)`", imports)}
        for names, imports in rows
        for module in re.findall(r"`([^`]+)`", names)
    }
    modules = {
        name: {re.sub(r"^web/.*", "web/", imported) for imported in imports - WORDS}
        for name, imports in _modules().items()
        if name not in WORDS
    }
    assert table == modules


def test_the_vocabulary_imports_nothing_but_itself():
    assert {word: imports - WORDS for word, imports in _modules().items() if word in WORDS} == {
        word: set() for word in WORDS
    }
