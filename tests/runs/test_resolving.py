"""The kind of data against what a space reads, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.texts import write_corpus

from onepath import spaces
from onepath.cli import main
from onepath.errors import ConfigurationError
from onepath.runs.definition import check_reads


@pytest.mark.parametrize("space", [name for name in spaces.names() if name != "darts-rnn"])
def test_text_and_a_space_of_images(space: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    method = ["--method", "zen"] if space == "zennas" else []
    assert (
        main(["run", "--data", str(corpus), "--space", space, "--out", str(tmp_path / "run"), *method]) == 2
    )
    assert f"{space} reads images and the data are text" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "score"])
def test_images_and_a_space_of_text(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space = ["darts-rnn"] if command == "score" else ["--space", "darts-rnn"]
    assert main([command, *space, "--data", "digits"]) == 2
    assert "darts-rnn reads text and the data are images" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("shape", "space"), [((35,), "darts-rnn"), ((3, 32, 32), "darts")])
def test_the_right_kind_passes(shape: tuple[int, ...], space: str) -> None:
    supernet = spaces.build(space, 10, **({"input_size": 32} if space == "darts" else {}))
    check_reads(supernet, len(shape) == 1, space)
    with pytest.raises(ConfigurationError, match="must read the kind of data"):
        check_reads(supernet, len(shape) > 1, space)


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize("option", ["--data", "--test-data"])
def test_a_blank_path_is_not_the_working_directory(
    name: str,
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", option, name, "--out", "run"]) == 2
    assert f"{option} must not be empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
