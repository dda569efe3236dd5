"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import typer

from onepath.cli.app import app
from onepath.cli.options import merged
from onepath.record import RunRecord
from onepath.report.command import reproduce
from onepath.runs.making import make_config

Make = Callable[..., RunRecord]


def test_command_has_every_setting_that_is_set_and_another_directory(make_record: Make) -> None:
    config = {
        "data": "my data/it's $HOME.npz",
        "test_data": None,
        "space_arguments": {},
        "max_macs": 2_000_000,
        "seed": 0,
        "compile": True,
        "out": "runs/mine/",
    }
    words = shlex.split(" ".join(reproduce(make_record(config=config)).parts))
    assert words == [
        "onepath",
        "run",
        "--data",
        "my data/it's $HOME.npz",
        "--max-macs",
        "2000000",
        "--seed",
        "0",
        "--compile",
        "--out",
        "runs/mine-again",
    ]


def test_data_given_in_python_has_no_command(make_record: Make) -> None:
    command = reproduce(make_record(config={"data": "python:arrays", "space": "python:nets.build"}))
    assert command.parts == ()
    assert "The data and the space came from Python" in command.note


def test_command_gives_the_run_its_configuration_back(make_record: Make) -> None:
    """Read by the command line itself, the words make the same configuration; the directory differs."""
    config = make_config(
        {
            "data": "-odd name's.npz",
            "space": "nets/my space.py:build",
            "space_arguments": {"dropout": 1e-5, "scales": [0.6, 1.0], "kind": "a: b", "wide": True},
            "max_macs": "30M",
            "learning_rate": 1e-5,
            "width": 0.5,
            "retrain_from": "both",
            "epochs": 3,
            "compile": True,
            "out": "runs/mine",
        }
    )
    record = make_record(config=config.as_dict())
    program, name, *words = shlex.split(" ".join(reproduce(record).parts))
    assert (program, name) == ("onepath", "run")
    run = typer.main.get_command(app).commands["run"]
    given = run.make_context("run", words).params
    options = merged(
        {key: value for key, value in given.items() if key in config.as_dict() or key == "space_argument"},
        None,
    )
    assert make_config(options).as_dict() == {**config.as_dict(), "out": "runs/mine-again"}
