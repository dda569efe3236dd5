"""Imports only go down: the layers of the project, checked on the source text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "onepath"

# What each room may import besides itself and the base files.
MAY_IMPORT = {
    "space": set(),
    "nn": {"space"},
    "search": {"space"},
    "data": set(),
    "record": {"space"},
    "spaces": {"nn", "space"},
    "cost": {"nn", "space", "record"},
    "train": {"nn", "space", "data", "record"},
    "estimate": {"space", "nn", "search", "data", "record", "spaces", "cost", "train"},
    "export": {"space", "nn", "record", "data"},
    "latency": {"space", "nn", "record", "cost", "export"},
    "methods": {
        *("space", "nn", "search", "data", "record", "spaces", "cost", "train", "estimate"),
        *("export", "latency"),
    },
    "report": {"space", "nn", "search", "data", "record", "spaces", "cost", "train", "estimate"},
    "testing": {"space", "nn", "search", "train"},
}
MAY_IMPORT["workers"] = {"record", "train"}
MAY_IMPORT["runs"] = set(MAY_IMPORT)
MAY_IMPORT["studies"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)
BASE: dict[str, set[str]] = {
    "errors": set(),
    "most": {"errors"},
    "own_code": {"errors"},
    "plain_yaml": {"errors"},
    "randomness": set(),
    "temporary": set(),
    "webpage": set(),
    "rank_correlation": {"errors"},
    "pareto": {"errors"},
    "verdict": {"pareto", "rank_correlation"},
    "evidence": {"verdict"},
    "display": set(),
}
WITHOUT_TORCH = ("space", "search")


def imports(path: Path) -> set[str]:
    """The top names of all imports in a file, those inside functions and type checks included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(path: Path) -> set[str]:
    """The rooms of ours that a file imports."""
    parts = [name.split(".") for name in imports(path)]
    return {part[1] for part in parts if part[0] == "onepath" and len(part) > 1 and part[1] != "__version__"}


def test_every_room_has_its_layer() -> None:
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_go_down(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        upward = rooms(path) - MAY_IMPORT[room] - {room} - set(BASE)
        assert not upward, f"{path.relative_to(SOURCE)} imports {sorted(upward)}, which is not below {room}/"


@pytest.mark.parametrize("name", sorted(BASE))
def test_base_files_import_no_room(name: str) -> None:
    assert rooms(SOURCE / f"{name}.py") == BASE[name]


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_that_know_no_torch(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        assert not any(name.split(".")[0] in ("torch", "torchvision") for name in imports(path)), path
