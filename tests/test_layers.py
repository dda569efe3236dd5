"""Imports only go down, and in no circle: the layers of the project, checked file by file on the source text.

An import inside a function counts like one at the top, and so does one for type checkers alone: what a file names, it
knows. A name that a package's `__init__` passes on is counted as an import of the file that defines it. A module of
ours that is loaded by its name as text is an import, too, which none but the listed files may do.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "onepath"

_LOWEST = {"space", "counting"}
_MIDDLE = {*_LOWEST, "nn", "policy", "search", "data", "record", "spaces", "cost", "train"}
_ALL = {
    *_MIDDLE,
    "conversion",
    "morph",
    "hyper",
    "estimate",
    "export",
    "latency",
    "methods",
    "report",
    "testing",
    "workers",
    "runs",
    "studies",
}
# What each room may import besides itself and the base files.
MAY_IMPORT = {
    "space": set(),
    "counting": {"space"},
    "nn": _LOWEST,
    "policy": {"space"},
    "search": {*_LOWEST, "policy"},
    "data": set(),
    "record": {"space"},
    "spaces": {*_LOWEST, "nn"},
    "cost": {*_LOWEST, "nn", "record"},
    "conversion": {*_LOWEST, "nn", "cost", "data"},
    "morph": {"space", "nn", "conversion"},
    "hyper": {"space", "nn", "cost", "conversion"},
    "workers": {"record"},
    "train": {*_LOWEST, "nn", "policy", "data", "record"},
    "estimate": {*_MIDDLE, "morph"},
    "export": {"space", "nn", "record", "data"},
    "latency": {*_LOWEST, "nn", "record", "cost", "export"},
    "methods": {*_MIDDLE, "hyper", "estimate", "export", "latency"},
    "report": {*_MIDDLE, "estimate"},
    "testing": {*_LOWEST, "nn", "search", "train", "cost"},
    "runs": _ALL - {"studies"},
    "studies": _ALL,
    "cli": _ALL,
}
WITHOUT_TORCH = ("space", "counting", "search")
# Files that import each other, and why.
CIRCLES: dict[frozenset[str], str] = {
    frozenset(
        {"methods/job.py", "methods/method.py"}
    ): "a method works on a job, which carries out what it says",
    frozenset(
        {"space/architecture.py", "space/search_space.py"}
    ): "an architecture is a point of its space, which makes it",
    frozenset(
        {"counting/cost_table.py", "counting/window.py"}
    ): "a table gives its sampler, so that a space needs neither",
    frozenset(
        {"train/phase.py", "train/training.py"}
    ): "what happens before an update of a phase works on the training",
    frozenset({"data/dataset_task.py", "data/task.py"}): "a task is made of datasets by its own class method",
    frozenset(
        {"runs/opened.py", "runs/run_job.py", "runs/budget.py", "runs/finishing_time.py"}
    ): "a run checks its options, and plans its budget, by the job that later works on it",
}
# Files that load a module of ours by its name as text, what they load, and why.
BY_NAME: dict[str, tuple[str, str]] = {
    "space/search_space.py": (
        "onepath.counting",
        "a cost that is given as a plain list has no method that would make its sampler",
    ),
}


@cache
def trees() -> dict[str, ast.Module]:
    """Path under the source -> its syntax tree."""
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def file_of(module: str) -> str | None:
    """The file of a dotted name below the package: of a module, or of a package's `__init__`."""
    path = module.replace(".", "/")
    return next((found for found in (f"{path}.py", f"{path}/__init__.py") if found in trees()), None)


@cache
def passed_on(init: str) -> dict[str, str]:
    """Name that a package's `__init__` imports from a file of ours -> that file."""
    found = {}
    for node in ast.walk(trees()[init]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onepath."):
            home = file_of((node.module or "").removeprefix("onepath."))
            found |= {alias.asname or alias.name: home for alias in node.names if home}
    return found


@cache
def imports(file: str) -> frozenset[str]:
    """The files of ours that a file imports from."""
    found: set[str | None] = set()
    for node in ast.walk(trees()[file]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("onepath.")]
            found |= {file_of(name.removeprefix("onepath.")) for name in names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: import by the full name"
            module = (node.module or "").removeprefix("onepath").removeprefix(".")
            if not (node.module or "").startswith("onepath"):
                continue
            for alias in node.names:
                inner = file_of(f"{module}.{alias.name}".removeprefix("."))
                home = inner or (file_of(module) if module else "__init__.py")
                if home and home.endswith("__init__.py") and home != file:
                    home = passed_on(home).get(alias.name, home)
                found.add(home)
    return frozenset(each for each in found if each and each != file)


def room(file: str) -> str:
    """The room of a file; "" for a base file."""
    return file.partition("/")[0] if "/" in file else ""


def circles() -> list[frozenset[str]]:
    """The strongly connected components of more than one file (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(file: str) -> None:
        number[file] = lowest[file] = len(number)
        stack.append(file)
        for other in imports(file):
            if other not in number:
                visit(other)
                lowest[file] = min(lowest[file], lowest[other])
            elif other in stack:
                lowest[file] = min(lowest[file], number[other])
        if lowest[file] == number[file]:
            members = set(stack[stack.index(file) :])
            del stack[stack.index(file) :]
            if len(members) > 1:
                found.append(frozenset(members))

    for file in sorted(trees()):
        if file not in number:
            visit(file)
    return found


def test_every_room_has_its_layer() -> None:
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_imports_go_down(name: str) -> None:
    allowed = {*MAY_IMPORT[name], name, ""}
    for file in trees():
        if room(file) == name:
            upward = {other for other in imports(file) if room(other) not in allowed}
            assert not upward, f"{file} imports {sorted(upward)}, which is not below {name}/"


def test_base_files_import_no_room() -> None:
    for file in trees():
        if room(file) == "" and file != "__init__.py":
            assert not {other for other in imports(file) if room(other)}, file


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_rooms_that_know_no_torch(name: str) -> None:
    for file, tree in trees().items():
        if room(file) == name:
            for node in ast.walk(tree):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(module.split(".")[0] in ("torch", "torchvision") for module in modules), file


def test_the_way_of_a_name_is_followed() -> None:
    assert "counting/most_probable.py" in imports(
        "nn/relaxations/derivation.py"
    )  # through counting/__init__.py
    assert "counting/window.py" in imports("counting/cost_table.py")  # inside a function
    assert "space/search_space.py" in imports("space/architecture.py")  # for type checkers alone


def test_modules_are_loaded_by_name_only_where_a_reason_is_given() -> None:
    found = {
        (file, node.value)
        for file, tree in trees().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("import_module", "__import__"))
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and str(node.value).startswith("onepath")
    }
    # The base file finds public names at their first use.
    found = {(file, name) for file, name in found if file != "__init__.py"}
    assert found == {(file, name) for file, (name, _) in BY_NAME.items()}


def test_files_import_each_other_only_where_a_reason_is_given() -> None:
    assert {tuple(sorted(circle)) for circle in circles()} == {tuple(sorted(circle)) for circle in CIRCLES}


def test_a_circle_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}
    monkeypatch.setattr(
        "test_layers.trees" if __name__ == "test_layers" else f"{__name__}.trees", lambda: arrows
    )
    monkeypatch.setattr(f"{__name__}.imports", lambda file: arrows[file])
    assert circles() == [frozenset({"a", "b", "c"})]


def test_no_two_rooms_share_the_name_of_a_file() -> None:
    homes: dict[str, set[str]] = {}
    for file in trees():
        if room(file) and not file.endswith("__init__.py"):
            homes.setdefault(Path(file).name, set()).add(room(file))
    shared = {
        name: rooms
        for name, rooms in homes.items()
        if len(rooms) > 1 and name in ("table.py", "ranking.py", "methods.py")
    }
    assert not shared
