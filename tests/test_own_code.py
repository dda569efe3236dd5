"""Code of the user's own: loaded, blamed, recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from onepath.errors import ConfigurationError, ShapeError
from onepath.own_code import blaming_own_code, is_own, is_same, load_own, source_digest


def load(text: str) -> object:
    return load_own(text, what="space", known=["shufflenet"], forms="path/to/file.py:function").value


def test_what_a_file_has_under_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("answer = 42\n")
    assert load(f"{path}:answer") == 42
    assert load(f"{path}:question") is None


def test_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise ValueError('no')\n")
    for text, message in (
        ("shuflenet", "a space must be one of shufflenet, or path.*did you mean shufflenet"),
        (f"{tmp_path}/other.py:build", "the file of a space must exist"),
        (f"{path}:build", "the file of a space must run, but .* raised ValueError: no"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load(text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('no')", r"raised ValueError: no"),
        ("import sys; sys.exit(0)", r"called sys\.exit\(0\)"),
        ("raise SystemExit", r"called sys\.exit\(None\)"),
        ("import no_such_module_anywhere", r"raised ModuleNotFoundError"),
        ("def build(:", r"raised SyntaxError"),
        ("1 / 0", r"raised ZeroDivisionError: division by zero"),
        ("class Odd(BaseException): ...\nraise Odd('a\\x1b[2J\\nb')", r"raised Odd: a\\x1b\[2J\\nb"),
        ("assert False", r"raised AssertionError; fix"),
        ("raise RuntimeError('x' * 5000)", r"x{200}\.\.\.; fix"),
    ],
)
def test_a_file_that_does_not_run_is_one_line(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(f"{path}:build")
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def run_own(path: Path, source: str) -> None:
    path.write_text(source)
    build = load(f"{path}:build")
    assert callable(build)
    with blaming_own_code():
        build()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"mine\.py, line 2, in build, raised KeyError: 'x'"),
        ("import sys; sys.exit(0)", r"mine\.py, line 2, in build, called sys\.exit\(0\)"),
        ("raise GeneratorExit", r"mine\.py, line 2, in build, raised GeneratorExit"),
        ("int('x')", r"raised ValueError: invalid literal"),
        ("import json; json.loads('{')", r"mine\.py, line 2, in build, raised JSONDecodeError"),
        ("import near; near.fail()", r"near\.py, line 1, in fail, raised TypeError: near"),
    ],
)
def test_an_error_in_own_code_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    (tmp_path / "near.py").write_text("def fail(): raise TypeError('near')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=message):
        run_own(tmp_path / "mine.py", f"def build():\n    {body}\n")


def test_an_error_of_ours_names_the_line_that_caused_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def forward():\n    raise ValueError('no')\n")
    forward = load(f"{tmp_path / 'mine.py'}:forward")
    assert callable(forward)

    def call() -> None:
        try:
            forward()
        except ValueError as error:
            raise ShapeError("the network must accept this. Change it.") from error

    with pytest.raises(ShapeError) as caught, blaming_own_code(), blaming_own_code():
        call()
    place = f"({tmp_path / 'mine.py'}, line 2, in forward, raised ValueError: no)"
    assert str(caught.value) == f"the network must accept this. Change it. {place}"


def test_errors_of_others_stay_what_they_are(tmp_path: Path) -> None:
    run_own(tmp_path / "mine.py", "def build(): ...\n")
    with pytest.raises(ZeroDivisionError), blaming_own_code():
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), blaming_own_code():
        raise KeyboardInterrupt
    with pytest.raises(ShapeError, match="ours"), blaming_own_code():
        raise ShapeError("ours")
    with (
        pytest.raises(ConfigurationError, match=r"something in it called sys\.exit\(3\)"),
        blaming_own_code(),
    ):
        raise SystemExit(3)


def test_a_class_with_annotations_finds_its_module(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses, typing\n"
        "@dataclasses.dataclass\nclass A:\n    x: typing.ClassVar[int] = 1\nanswer = A()\n"
    )
    assert load(f"{path}:answer") is not None


SOURCE = "import near\n\n\ndef build(n=2):\n    # how many\n    return [n, near.x]\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "is_same"),
    [
        ("mine.py", "# how many", "# otherwise", True),
        ("mine.py", "\n\n\n", "\n\n# a comment\n\n\n", True),
        ("mine.py", "[n, near.x]", "[n,  near.x ]", True),
        ("mine.py", "[n, near.x]", "[n + 1, near.x]", False),
        ("mine.py", "n=2", "n=3", False),
        ("near.py", "x = 1", "x = 2", False),
        ("near.py", "x = 1", "x = 1  # one", True),
        ("package/deep.py", "y = 1", "y = 2", False),
        ("package/inner/deepest.py", "d = 1", "d = 2", False),
        ("plain/blocks.py", "b = 1", "b = 2", False),
        ("plain/more.py", "m = 1", "m = 2", False),
        ("plain/under/leaf.py", "f = 1", "f = 2", False),
        ("plain/unused.py", "u = 1", "u = 2", True),
        ("late.py", "l = 1", "l = 2", False),
        ("far.py", "z = 1", "z = 2", True),
    ],
)
def test_the_digest_of_a_source(tmp_path: Path, file: str, old: str, new: str, is_same: bool) -> None:
    files = {
        "mine.py": SOURCE,
        "near.py": "import package.deep\nimport mine\nfrom plain.blocks import b\nx = 1\n",
        "plain/blocks.py": "from . import more\nfrom .under.leaf import f\nb = 1\n",
        "plain/more.py": "def call():\n    from late import *\n\nm = 1\n",
        "plain/under/leaf.py": "f = 1\n",
        "plain/unused.py": "u = 1\n",
        "late.py": "l = 1\n",
        "package/inner/deepest.py": "d = 1\n",
        "package/__init__.py": "",
        "package/deep.py": "y = 1\n",
        "far.py": "z = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = f"{tmp_path / 'mine.py'}:build"
    before = source_digest(own)
    assert before is not None
    assert old in files[file]
    (tmp_path / file).write_text(files[file].replace(old, new))
    assert (source_digest(own) == before) == is_same


def test_the_digest_does_not_run_the_file_and_does_not_depend_on_where_it_is(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("raise SystemExit\n")
    digests = {source_digest(f"{tmp_path / folder / 'mine.py'}:build") for folder in ("a", "b")}
    assert len(digests) == 1
    assert None not in digests
    assert source_digest(f"{tmp_path}/absent.py:build") is None
    (tmp_path / "mine.py").write_bytes(b"\xff not python (")
    assert source_digest(f"{tmp_path / 'mine.py'}:build") is not None


def test_the_digest_of_a_command(tmp_path: Path) -> None:
    script, log = tmp_path / "measure.sh", tmp_path / "log.txt"
    script.write_text("echo 1\n")
    log.write_text("")
    command = f"exec:{script} --log {log}"
    before = source_digest(command)
    log.write_text("measured")
    assert source_digest(command) == before is not None
    script.write_text("echo 2\n")
    assert source_digest(command) != before
    assert source_digest("exec:no-such-program x") is None
    assert source_digest("exec:'") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.py:build", True),
        ("/x/y.py:D", True),
        ("exec:./m.sh", True),
        ("shufflenet", False),
        ("torch-cpu", False),
        (None, False),
        ("a.pyc:build", False),
        ("a.py", False),
    ],
)
def test_what_is_own_code(text: str | None, expected: bool) -> None:
    assert is_own(text) == expected


def test_the_same_code_by_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "link.py").symlink_to(tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    own = f"{tmp_path}/mine.py:build"
    assert is_same(own, "mine.py:build")
    assert is_same(own, "./x/../mine.py:build")
    assert is_same(own, "link.py:build")
    assert not is_same(own, "mine.py:other")
    assert not is_same(own, "other.py:build")
    assert not is_same("exec:./a", "exec:./b")
