"""Load and recognise code of the user's own, `path/to/file.py:name` or `exec:command`, and report its errors."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import importlib.util
import shlex
import sys
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from onepath.errors import ConfigurationError, UnnamedCodeError, UserError, shown

COMMAND = "exec:"
_MODULE = "onepath_user_"
_MOST_FILES = 500
_OTHERS = ("onepath", "torch")
_LONGEST = 500  # characters shown of a path that the user copies from a message
_MESSAGE = 200  # characters shown of the text of an error


class OwnCode(NamedTuple):
    """The object that a file of the user's holds under a name.

    Attributes:
        path: path of the file, as it was given.
        name: name of the object in the file.
        value: the object; None if the file has nothing of that name.
    """

    path: str
    name: str
    value: object


def load_own(text: str, *, what: str, known: Collection[str], forms: str) -> OwnCode:
    """Run the file of `path/to/file.py:name` and look the name up in it.

    The file is run as Python code: it is the user's own program.

    Args:
        text: text that the user gave, which is not a name that onepath knows.
        what: kind of object that the text names, for messages: "space" or "device".
        known: names of this kind that onepath knows.
        forms: how code of the user's own is written, for messages.

    Raises:
        ConfigurationError: the text does not have this form (the message names the most similar known name), the file
            does not exist, or running it raises.
    """
    path, separator, name = text.rpartition(":")
    if not separator or not path.endswith(".py"):
        near = difflib.get_close_matches(text, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"a {what} must be one of {', '.join(known)}, or {forms}, but got {text!r}{hint}"
        )
    if not Path(path).is_file():
        raise ConfigurationError(f"the file of a {what} must exist, but {path!r} does not; check the path")
    module_name = f"{_MODULE}{what}_{Path(path).stem}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # As an import does: dataclasses and pickles look up their module there.
    sys.modules[module_name] = module
    try:
        specification.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigurationError(
            f"the file of a {what} must run, but {path} {_raised(error)}; fix the file"
        ) from error
    return OwnCode(path, name, getattr(module, name, None))


def is_own(text: object) -> bool:
    """Whether the name of a space, device or method has the form `path/to/file.py:name` or `exec:command`."""
    return isinstance(text, str) and (text.startswith(COMMAND) or text.rpartition(":")[0].endswith(".py"))


def is_same(text: str, other: str) -> bool:
    """Whether two names stand for the same function or command; links and relative paths are resolved."""
    if text == other or text.startswith(COMMAND) or not (is_own(text) and is_own(other)):
        return text == other
    (path, _, name), (other_path, _, other_name) = text.rpartition(":"), other.rpartition(":")
    return name == other_name and Path(path).expanduser().resolve() == Path(other_path).expanduser().resolve()


def source_digest(text: str) -> str | None:
    """Return a digest of the code that a name stands for, without running it; None if there is no such file.

    For a Python file the digest also covers the modules that the file imports from its own folder; comments and layout
    do not count. For a command the digest covers the program and its scripts, if they are given as paths of files.

    Args:
        text: `path/to/file.py:name` or `exec:command`.
    """
    if text.startswith(COMMAND):
        with contextlib.suppress(ValueError, OSError):
            words = shlex.split(text.removeprefix(COMMAND))
            files = [
                Path(word) for place, word in enumerate(words) if place == 0 or word.endswith((".py", ".sh"))
            ]
            contents = [file.read_bytes() for file in files if file.is_file()]
            return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else None
        return None
    path = Path(text.rpartition(":")[0]).expanduser()
    digest = hashlib.sha256()
    files = source_files(path)
    for file in files:
        content = file.read_bytes()
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            content = repr(_plain(ast.parse(content))).encode()
        digest.update(f"{file.relative_to(path.parent)} {len(content)} ".encode() + content)
    return digest.hexdigest() if files else None


def source_files(path: Path) -> list[Path]:
    """Return the paths of a Python file and of everything in its folder that it imports, directly or indirectly.

    Folders without `__init__.py` count as packages, and relative imports are followed. Not found are modules in folders
    that code adds to `sys.path`, and modules that are imported by a name made at run time. At most 500 files are
    returned, sorted; none if `path` is not a file.
    """
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting and len(found) < _MOST_FILES:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found[file] = None
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, OSError):
            for levels, name in sorted(_imported(ast.parse(file.read_bytes()))):
                folder = path.parent if levels == 0 else file.parents[levels - 1]
                if folder.is_relative_to(path.parent):
                    waiting += _modules(folder, name.split(".") if name else [])
    return sorted(found)


def _modules(folder: Path, names: list[str]) -> list[Path]:
    """Return the files that importing a dotted name from a folder may run.

    Args:
        folder: where the import starts.
        names: parts of the dotted name. If a part is a package, all files of the package are returned.
    """
    found = [folder / "__init__.py"]
    for name in names:
        found.append(folder / f"{name}.py")
        folder /= name
        if (folder / "__init__.py").is_file():
            return [*found, *sorted(folder.rglob("*.py"))]
    return found


def unnamed_code(path: Path, name: str, code: str) -> UnnamedCodeError:
    """Return the error that only a file names code of the user's own, while whoever runs the code must name it.

    Args:
        path: the file that names the code.
        name: option that the code belongs to, such as "space".
        code: the code as the file names it, `path/to/file.py:name` or `exec:command`.
    """
    again = shlex.quote(code) if code.isprintable() else shown(code, _LONGEST)
    return UnnamedCodeError(
        f"own code must be named by whoever runs it, but only {path} names the {name}; if it is yours, add "
        f"--{name} {again} (in Python {name}=...)"
    )


@contextlib.contextmanager
def blaming_own_code() -> Iterator[None]:
    """A context for work that runs code of the user's own; errors of that code become one line that names the place.

    Raises:
        ConfigurationError: an exception passed through a file of the user's, or some code asked Python to exit, which
            must not look like success.
        UserError: a `UserError` of onepath passes through, with the place added if its cause was raised in a file of
            the user's.
    """
    try:
        yield
    except UserError as error:
        cause = error.__cause__
        place = None if cause is None or isinstance(cause, UserError) else _own_place(cause)
        if cause is None or place is None or place.partition(",")[0] in str(error):
            raise
        raise type(error)(f"{error} ({place} {_raised(cause)})") from cause
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        if isinstance(
            error.__context__, BrokenPipeError
        ):  # the reader of stdout has closed it, which typer turns into an exit
            raise
        place = _own_place(error)
        if place is None and not isinstance(error, SystemExit):
            raise
        where = "something in it" if place is None else place
        raise ConfigurationError(
            f"your own code must run to its end, but {where} {_raised(error)}; fix it"
        ) from error


def _own_place(error: BaseException) -> str | None:
    """Return the innermost line of the user's own files that an exception passed through, or None."""
    loaded = [module for name, module in list(sys.modules.items()) if name.startswith(_MODULE)]
    paths = [Path(file) for module in loaded if (file := getattr(module, "__file__", None))]
    own = {file.resolve() for path in paths for file in source_files(path)}
    places = [
        each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).resolve() in own
    ]
    return f"{places[-1].filename}, line {places[-1].lineno}, in {places[-1].name}," if places else None


def _raised(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"called sys.exit({shown(error.code, _MESSAGE)})"
    text = shown(error, _MESSAGE)
    return f"raised {type(error).__name__}" + (f": {text}" if text else "")


def _imported(tree: ast.AST) -> set[tuple[int, str]]:
    """Return (number of leading dots, dotted name) of each module that a source imports, without onepath and torch."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            # A name that is imported from a package may be a module itself.
            found |= {(node.level, f"{start}{alias.name}".removesuffix(".*")) for alias in node.names}
    return {(level, name) for level, name in found if level or name.partition(".")[0] not in _OTHERS}


def _plain(node: object) -> object:
    """Return a syntax tree as nested lists; empty fields are left out, because versions of Python differ in them."""
    if isinstance(node, ast.AST):
        parts = [(name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *parts]
    return [_plain(item) for item in node] if isinstance(node, list) else repr(node)
