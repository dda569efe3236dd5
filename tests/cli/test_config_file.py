"""A file of options is data: small, plain, and without a say in what code is run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from onepath.cli import main
from onepath.cli.options import merged, space_arguments
from onepath.errors import ConfigurationError
from onepath.plain_yaml import read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS, "no aliases"),
        ("a: &a [*a]", "no aliases"),
        ("a: &a {epochs: 3}\nb:\n  <<: *a", "no aliases"),
        ("a: " + "[" * 1000, "at most 20 deep"),
        ("- " * 5000 + "1", "at most 20 deep"),
        ("a: {" * 1000, "at most 20 deep"),
        ("x" * 70_000, "at most 65,536 bytes"),
        ("epochs: 1\nepochs: 2", "must have each key once, but has 'epochs' twice"),
        ("space_arguments: {a: 1, a: 2}", "'a' twice"),
        ("max-macs: 1M\nmax_macs: 2M", "one both with - and with _"),
        ("!!python/object/apply:os.system ['true']", "must be YAML"),
        ("seed: !!int '" + "9" * 6000 + "'", "must be YAML"),
        ("seed: 2024-13-45", "must be YAML"),
        ("seed: 1\x00", "must be YAML"),
        ("? [a, b]\n: 1", "must be YAML"),
        ("seed: !!binary '\xff'", "must be YAML"),
        ("--- 1\n--- 2", "must be YAML"),
    ],
)
def test_a_file_that_is_more_than_options(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content, encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="--config must") as caught:
        merged({}, str(file))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(file))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/zero", "/dev/null", str(tmp_path / "fifo"), str(tmp_path)):
        with pytest.raises(ConfigurationError, match="--config must be a regular file"):
            merged({}, path)
    with pytest.raises(ConfigurationError, match="name too long"):
        merged({}, "y" * 5000)


@pytest.mark.parametrize("name", ["space", "device"])
@pytest.mark.parametrize("code", ["exec:./measure.sh", "x.py:D", "/a/b.py:build"])
def test_code_is_named_on_the_command_line(tmp_path: Path, name: str, code: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"{name}: '{code}'\n")
    with pytest.raises(ConfigurationError, match=f"own code must be named.*add --{name} '?{code}'? "):
        merged({name: None}, str(file))
    assert merged({name: code}, str(file)) == {name: code}
    # What is given comes first, whatever the file asks for.
    assert merged({name: "shufflenet"}, str(file)) == {name: "shufflenet"}


def test_names_of_ours_are_no_code(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("space: shufflenet\ndevice: onnxruntime-cpu\n")
    assert merged({}, str(file)) == {"space": "shufflenet", "device": "onnxruntime-cpu"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs: true", "epochs must be a number, but got True"),
        ("epochs: yes", "epochs must be a number, but got True"),
        ("width: on", "width must be a number, but got True"),
        ("max_macs: true", "max_macs must be a number, but got True"),
        ("max_latency_ms: true\ndevice: torch-cpu", "max_latency_ms must be a number, but got True"),
        ("max_latency_ms: [1, true]\ndevice: torch-cpu", "max_latency_ms must be a number, but got True"),
        ("seed: false", "seed must be a number, but got False"),
        ("compile: 1", "compile must be a valid boolean, but got 1"),
        ("compile: 'yes'", "compile must be a valid boolean"),
        ("data: no", "data must be a valid string, but got False"),
        ("data: 2024-01-01", "data must be a valid string, but got 2024-01-01"),
        ("epochs: 2024-01-01", "epochs must be a valid integer"),
        ("out: ''", "out must not be empty"),
        ("latency_table: '  '\nmax_latency_ms: 3", "latency_table must not be empty"),
        ('out: "a\\0b"', "out must be UTF-8 text without NUL"),
        ("learning_rate: .inf", "learning_rate must be"),
        ("width: .nan", "width must be"),
        ("epochs: " + "9" * 40, "epochs must be less than or equal to 100000"),
        ("space_arguments: [1]", "space_arguments must be a valid dictionary"),
        ("space_arguments: {num_classes: 3}", "must not hold num_classes"),
        ("space_arguments: {seed: 3}", "must not hold seed"),
        ("space_arguments: {'a b': 3}", "must have names that Python allows"),
        ("space_arguments: {class: 3}", "must have names that Python allows"),
        ("space_arguments: {a: 2024-01-01}", "a holds a date"),
        ("space_arguments: {a: .nan}", "must hold finite numbers in a"),
        ("space_arguments: {1: 2}", "space_arguments must be a valid string"),
        ('"\\x1b[2J": 1', "an option must exist, but '\\x1b[2J' does not"),
    ],
)
def test_values_that_yaml_makes_of_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(line)
    assert main(["run", "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert len(err) < 1100


def test_plain_options_stay_what_they_are() -> None:
    text = "a: 3\nb: '3'\nc: [1, 2.5, x]\nd: {e: null}\n"
    assert read_yaml(text) == {"a": 3, "b": "3", "c": [1, 2.5, "x"], "d": {"e": None}}
    assert read_yaml("") is None
    assert space_arguments(["a=1", "b=x=y", "c=[1, 2]", "d="]) == {"a": 1, "b": "x=y", "c": [1, 2], "d": None}
    assert space_arguments(None) == {}
