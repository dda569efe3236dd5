"""A device of the user's own: whatever its code does, the error is one line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency.networks import SHAPE, blocks
from torch import nn

from onepath.errors import ConfigurationError, UserError
from onepath.latency import Schedule, device, measure, profile
from onepath.latency.device import MOST_THREADS
from onepath.latency.ranking import measure_levels

CODE = """
from onepath.latency import Device, Schedule

class Prepared:
    def run(self):
        {run}

    def close(self):
        {close}

class Own(Device):
    {name}
    {schedule}

    def __init__(self, **settings):
        {make}

    def prepare(self, model, input_shape):
        {prepare}

    def missing(self):
        {missing}

    def version(self):
        {version}

    {more}
"""
GOOD = {
    "run": "return 1.0",
    "close": "pass",
    "name": "name = 'mine'",
    "schedule": "schedule = Schedule(num_blocks=3, num_runs=1, num_warm_up=0)",
    "make": "super().__init__(**settings)",
    "prepare": "return Prepared()",
    "missing": "return None",
    "version": "return '1'",
    "more": "pass",
}


def own(tmp_path: Path, **changes: str) -> str:
    path = tmp_path / "own.py"
    path.write_text(CODE.format(**{**GOOD, **changes}))
    return f"{path}:Own"


def used(name: str) -> None:
    measure(device(name, threads=1), [nn.Linear(3, 1)], (3,))


def test_the_device_of_these_tests_is_in_order(tmp_path: Path) -> None:
    used(own(tmp_path))


RAISED = (
    "raise KeyError(object())",
    "raise type('\\x1b', (Exception,), {})('x' * 9999)",
    "raise RuntimeError('no\\x1b[31m board\\nis there')",
    "raise SystemExit(0)",
    "1 / 0",
    "[][0]",
)


@pytest.mark.parametrize("place", ["run", "close", "make", "prepare", "missing", "version"])
@pytest.mark.parametrize(
    "code", [*RAISED, "raise KeyError(object())", "raise type('\\x1b', (Exception,), {})('x' * 9999)"]
)
def test_what_its_methods_raise_names_it(tmp_path: Path, place: str, code: str) -> None:
    with pytest.raises(UserError, match=r"the device .*(mine|own\.py:Own).* must .* raised") as caught:
        used(own(tmp_path, **{place: code}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "value",
    [
        *("None", "'1.0'", "True", "float('nan')", "float('inf')", "-1.0", "0", "0.0", "[1.0]", "1j", "{}"),
        *("10**400", "1e300", "1e-300", "b'1'", "'\\x1b[31m' * 10000", "type"),
    ],
)
def test_what_is_no_time_is_refused(tmp_path: Path, value: str) -> None:
    name = own(tmp_path, run=f"return {value}")
    for use in (used, lambda name: measure_levels(device(name), [nn.Linear(3, 1)], (3,))):
        with pytest.raises(
            UserError, match="a time must be finite and over 0 ms, but the device mine gave"
        ) as caught:
            use(name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_numbers_of_numpy_are_times(tmp_path: Path) -> None:
    name = own(tmp_path, run="import numpy; return numpy.float32(2.5)")
    (found,) = measure(device(name, threads=np.int64(1)), [nn.Linear(3, 1)], (3,))
    assert found.median_ms == 2.5
    assert type(found.median_ms) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prepare": "return None"},
            "must return an object with `run` and `close`, but it returned 'NoneType'",
        ),
        ({"prepare": "return Own"}, "must return an object with `run` and `close`"),
        ({"prepare": "pass; return type('Half', (), {'run': 1, 'close': 2})()"}, "with `run` and `close`"),
        ({"make": "pass"}, "tell its settings.* raised AttributeError"),
        ({"make": "self.threads = 1"}, "tell its settings.* raised AttributeError"),
        ({"name": "name = None"}, ""),
        ({"name": "name = 7"}, "the name of a device must be .* printable characters, but it is 7"),
        ({"name": "name = 'x\\x1b[31m'"}, r"the name of a device must be .*, but it is 'x\\x1b"),
        ({"name": "name = 'x\\ny'"}, "the name of a device must be"),
        ({"name": "name = 'x' * 5000"}, "the name of a device must be"),
        ({"schedule": "schedule = 3"}, "`schedule` of the device mine must be an onepath.latency.Schedule"),
        ({"schedule": "schedule = Schedule(num_blocks=10**12)"}, "num_blocks must be 10,000 or less"),
        ({"schedule": "schedule = Schedule(num_blocks=0)"}, "num_blocks must be 1 or more"),
        ({"schedule": "schedule = Schedule(num_runs=-1)"}, "num_runs must be 1 or more"),
        ({"schedule": "schedule = Schedule(num_runs='2')"}, "num_runs must be a whole number"),
        ({"schedule": "schedule = Schedule(num_warm_up=10**9)"}, "num_warm_up must be 1,000,000 or less"),
        ({"missing": "return 'no\\x1b[31m\\nboard'"}, r"is not: no\\x1b\[31m board; `onepath devices`"),
        (
            {"more": "def settings(self): return []"},
            "tell its settings as plain values, but it raised TypeError",
        ),
        (
            {"more": "def settings(self): return {}"},
            "tell its settings as plain values, but it raised KeyError",
        ),
        ({"more": "precision = property(lambda self: object())"}, "raised|must"),
        ({"more": "precisions = None"}, "raised TypeError"),
    ],
)
def test_what_is_not_well_formed_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    if not message:
        assert device(own(tmp_path, **changes)).name.endswith("own.py:Own")
        return
    with pytest.raises(UserError, match=message) as caught:
        used(own(tmp_path, **changes))
    assert str(caught.value).isprintable()


def test_what_it_says_of_itself_is_plain_text(tmp_path: Path) -> None:
    settings = device(own(tmp_path, version="return '\\x1b]0;title\\x07 2.1\\n' + 'x' * 999")).settings()
    assert settings["version"].startswith("\\x1b]0;title\\x07 2.1 xxx")
    assert len(settings["version"]) < 300


def test_a_profile_names_the_device_too(tmp_path: Path) -> None:
    name = own(tmp_path, run="1 / 0")
    with pytest.raises(
        UserError, match="the device mine must run an inference, but it raised ZeroDivisionError"
    ):
        profile(blocks(), device(name), SHAPE, path=tmp_path / "table.json")


@pytest.mark.parametrize("value", [10**6, 10**400, -1, 0, True, 1.0, "4", MOST_THREADS + 1])
@pytest.mark.parametrize("setting", ["threads", "batch"])
@pytest.mark.parametrize("name", ["torch-cpu", "onnxruntime-cpu", "exec:true"])
def test_counts_have_bounds_on_every_device(name: str, setting: str, value: Any) -> None:
    if setting == "batch" and value == MOST_THREADS + 1:
        return
    with pytest.raises(ConfigurationError, match=f"{setting} must be") as caught:
        device(name, **{setting: value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "more",
    [{"blocks": 10**9}, {"repeats": 10**400}, {"max_tries": 10**9}, {"blocks": True}, {"repeats": 1.5}],
)
def test_a_measurement_has_bounds(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(more))} must be"):
        measure(device(own(tmp_path)), [nn.Linear(3, 1)], (3,), **more)


def test_a_schedule_is_bounded_in_python_too() -> None:
    with pytest.raises(ConfigurationError, match="num_blocks must be a whole number"):
        Schedule(num_blocks=None)  # type: ignore[arg-type]
