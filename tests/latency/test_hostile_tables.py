"""A table or measurement that came from somewhere: what is amiss in it is one line that names file and entry."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from latency.hostile import WRONG, Place, found_at, kind_of, places, plain, replaced, without
from latency.networks import SHAPE, Counting, blocks
from latency.test_table import hand_made

from onepath.errors import ConfigurationError, DataError, RunDirectoryError, UserError
from onepath.latency import LatencyTable, MaxLatency, PublishedTable, load_predictor
from onepath.latency.catalogue import device_of_file
from onepath.latency.limit import check_predictor, known_network
from onepath.latency.profiling import calibrated, profile
from onepath.runs import make_config
from onepath.runs.resolving import _device

ROW = {
    "architecture": "0,0,0,0,0,0",
    "use": "validation",
    "measured_ms": 3.0,
    "iqr_ms": 0.1,
    "is_noisy": False,
}
DATA = plain(
    {
        **hand_made().to_data(),
        "evidence": {
            "settings": {},
            "rounds": 20,
            "seconds": 1.5,
            "empty_ms": {"8x8x4": 0.01},
            "networks": [{**ROW, "sum_ms": 1.0, "predicted_ms": 3.0}],
        },
    }
)
# Shown or compared as they are.
FREE = {("space", "arguments", "width")}
MAY_BE_NULL = {"runtime_version", "processor", *DATA["errors"]} - {"error_ms_95"}
ENTRY = next(iter(DATA["entries"]))


def written(tmp_path: Path, data: Any, name: str = "table.json") -> Path:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def used(data: Any, tmp_path: Path) -> None:
    """Load a table and do with it what a run does."""
    table = LatencyTable.load(written(tmp_path, data))
    check_predictor(table, blocks(), Counting(), SHAPE)
    known_network(table)
    predicted_ms = table.predict(blocks().space, blocks().space.enumerate_matrix())
    assert (predicted_ms > 0).all()
    assert (predicted_ms < 1e20).all()


def test_the_table_of_these_tests_is_in_order(tmp_path: Path) -> None:
    used(DATA, tmp_path)


@pytest.mark.parametrize("at", list(places(DATA)), ids=lambda at: ".".join(map(str, at))[:60])
def test_every_node_of_a_table_is_checked(at: Place, tmp_path: Path) -> None:
    """Another kind of value is refused everywhere; one of the same kind is, or serves as well."""
    for name, value in WRONG.items():
        refusal = None
        try:
            used(replaced(DATA, at, value), tmp_path)
        except UserError as error:
            refusal = str(error)
        if refusal is None:
            is_null = value is None and at[-1] in MAY_BE_NULL
            assert kind_of(value) == kind_of(found_at(DATA, at)) or at in FREE or is_null, name
        else:
            assert refusal.isprintable(), name
            assert len(refusal) < 700, name
    if at:
        with contextlib.suppress(UserError):
            used(without(DATA, at), tmp_path)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (
            ("entries", ENTRY, "mean"),
            -0.1,
            f"entries.{ENTRY}.mean: .* greater than or equal to 0, but got -0.1",
        ),
        (("entries", ENTRY, "mean"), float("nan"), "mean: input should be a finite number, but got nan"),
        (("entries", ENTRY, "mean"), "1e999", "mean: input should be a valid number, but got '1e999'"),
        (("entries", ENTRY, "mean"), True, "mean: input should be a valid number, but got True"),
        (("entries", ENTRY, "std"), float("inf"), "std: input should be a finite number"),
        (("entries", ENTRY, "n"), 0, "n: .* greater than or equal to 1"),
        (("calibration", "slope"), -1.0, r"calibration.slope: .* greater than 0, but got -1\.0"),
        (("calibration", "slope"), 0.0, r"calibration.slope: .* greater than 0"),
        (("calibration", "intercept"), -0.01, "calibration.intercept: .* greater than or equal to 0"),
        (("calibration", "intercept"), float("-inf"), "calibration.intercept: "),
        (("input_shape", 0), 0, "input_shape.0: .* greater than or equal to 1"),
        (("threads",), 10**400, "threads: .*a number of about 400 digits"),
        (("terms", 0, "keys"), [["k1"]], "terms.0: keys must be"),
        (
            ("constant", 0),
            "gone",
            "every candidate must have an entry in the latency table, but gone has none",
        ),
    ],
)
def test_the_line_names_file_entry_rule_and_value(
    tmp_path: Path, at: Place, value: Any, message: str
) -> None:
    path = written(tmp_path, replaced(DATA, at, value))
    with pytest.raises(DataError, match=message) as caught:
        LatencyTable.load(path)
    assert str(caught.value).startswith(f"{path} must be a latency table as onepath wrote it")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"entries": {"\\u001b": 1, "\\u001b": 2}}'])
def test_a_key_may_stand_once(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="stands there twice") as caught:
        LatencyTable.load(written(tmp_path, text))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("load", [LatencyTable.load, load_predictor, PublishedTable.load])
def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path, load: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "deep").write_text("[" * 200_000)
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for name in ("pipe", "large", "deep", "latin", "", "/dev/zero", "a\x00b", "x" * 300):
        with pytest.raises((DataError, RunDirectoryError)) as caught:
            load(str(tmp_path / name) if name and "/" not in name else name)
        assert str(caught.value).isprintable()


def test_a_predictor_of_safetensors_is_no_pipe_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(DataError, match="no regular file"):
        load_predictor(tmp_path / "pipe.safetensors")
    (tmp_path / "deep.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00" + b"[" * 16)
    with pytest.raises(DataError, match="must be a latency predictor as onepath wrote it"):
        load_predictor(tmp_path / "deep.safetensors")


YAML = "Conv-input:8x8x3-output:8x8x4: {count: 2, mean: 1.5, var: 0.25}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {mean: -1.0}", "a: mean: .* greater than or equal to 0"),
        ("a: {mean: .nan}", "a: mean: input should be a finite number"),
        ("a: {mean: .inf}", "a: mean: input should be a finite number"),
        ("a: {mean: 1e999}", "a: mean: "),
        ("a: {mean: '1e999'}", "a: mean: "),
        ("a: {mean: true}", "a: mean: input should be a valid number"),
        ("a: {mean: null}", "a: mean: "),
        ("a: {mean: [1]}", "a: mean: "),
        ("a: {mean: 1.0, var: -1}", "a: var: "),
        ("a: {mean: 1.0, std: .inf}", "a: std: "),
        ("a: {mean: 1.0, count: 0}", "a: count: "),
        ("a: {mean: 1.0, count: 1.5}", "a: count: "),
        (f"a: {{mean: {'9' * 400}}}", "a: mean: "),
        ("a: {mean: 1.0}\na: {mean: 2.0}", "must have each key once, but has 'a' twice"),
        ("a: {mean: 1.0, mean: 2.0}", "must have each key once, but has 'mean' twice"),
        ("a: &x {mean: 1.0}\nb: *x", "must have no aliases"),
        ("a: &x [1]\nb: {<<: *x}", "must have no aliases"),
        ("? [1, 2]\n: {mean: 1.0}", "unhashable|must be"),
        ("{}", "it must be a mapping"),
        ("", "it must be a mapping"),
        ("a: {}", "a: mean: field required"),
        ('"\\e[31m": {mean: -1.0}', r"\\x1b\[31m: mean"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (f"? {'x' * 2000}\n: {{mean: 1.0}}", "at most 1000 characters"),
        ("[" * 3000, "nested at most 20 deep"),
    ],
)
def test_a_published_table_is_checked_entry_by_entry(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        PublishedTable.load(written(tmp_path, text, "table.yaml"), expand="ratio")
    assert str(caught.value).isprintable()


def test_numbers_that_yaml_takes_for_text_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a: {mean: 15e-1}\n" + YAML, "table.yaml")
    assert PublishedTable.load(path, expand="ratio").entries["a"].mean == 1.5


@pytest.mark.parametrize("name", ["exec:touch ran", "own.py:Own", "phone", "x\x1b[31m", "torch-cpu "])
def test_a_table_chooses_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither a command nor a class that a file names is run; given by the caller as well, it is compared."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("open('ran', 'w').close()\nclass Own: pass\n")
    with pytest.raises(ConfigurationError, match="name the device with --device") as caught:
        device_of_file(name, "table.json")
    assert str(caught.value).isprintable()
    path = written(tmp_path, {**DATA, "device": name})
    given = {
        "data": "digits",
        "space": "shufflenet",
        "latency_table": str(path),
        "max_latency_ms": 5.0,
        "out": "run",
    }
    for more in ({}, {"device_threads": 1}):
        with pytest.raises(UserError) as caught:
            _device(make_config({**given, **more}))
        assert str(caught.value).isprintable()
    assert not (tmp_path / "ran").exists()
    if "\x1b" not in name:
        assert _device(make_config({**given, "device": name}))["device"].endswith(name)
        with pytest.raises(ConfigurationError, match="must be of the device it is used for"):
            MaxLatency("torch-cpu", 5.0, path).bind(blocks(), SHAPE)
    assert not (tmp_path / "ran").exists()


def test_a_table_of_one_of_the_devices_chooses_it(tmp_path: Path) -> None:
    path = written(tmp_path, {**DATA, "device": "torch-cpu", "threads": 2})
    given = {
        "data": "digits",
        "space": "shufflenet",
        "latency_table": str(path),
        "max_latency_ms": 5.0,
        "out": "run",
    }
    assert _device(make_config(given)) == {"device": "torch-cpu", "device_threads": 2}


def test_the_fitted_line_never_begins_under_0() -> None:
    import numpy as np

    sums = np.array([1.0, 2.0, 3.0])
    assert calibrated(sums, 2 * sums + 0.5) == pytest.approx((2.0, 0.5))
    slope, intercept = calibrated(sums, 2 * sums - 0.5)
    assert intercept == 0
    assert slope == pytest.approx((1 * 1.5 + 2 * 3.5 + 3 * 5.5) / 14)


def test_known_networks_of_a_table() -> None:
    assert known_network(LatencyTable.from_data(DATA)) == ("0,0,0,0,0,0", 3.0)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), []),
        (("format",), "x"),
        (("items",), "x"),
        (("items", 0), 1),
        (("rounds",), []),
        (("rounds", "num_items"), 10**400),
        (("rounds", "num_items"), -1),
        (("rounds", "orders"), [[0, 0]]),
        (("rounds", "orders"), [[1.0, 0.0]]),
        (("rounds", "orders", 0), {}),
        (("rounds", "times_ms"), []),
        (("rounds", "times_ms", 0), [1.0]),
        (("rounds", "times_ms", 0, 0), -1.0),
        (("rounds", "times_ms", 0, 0), 1e308),
        (("rounds", "times_ms", 0, 0), float("nan")),
        (("rounds", "times_ms", 0, 0), "1"),
        (("rounds", "seconds"), float("-inf")),
        (("rounds", "seconds"), None),
    ],
)
def test_a_measurement_in_progress_is_checked(tmp_path: Path, at: Place, value: Any) -> None:
    rounds = {"num_items": 2, "orders": [[1, 0]], "times_ms": [[1.0, 2.0]], "seconds": 1.0}
    data = {"format": "onepath latency profile in progress, 1", "items": ["a", "b"], "rounds": rounds}
    written(tmp_path, replaced(data, at, value), "table.json.part")
    with pytest.raises(DataError, match=r"must be a measurement in progress .*delete it") as caught:
        profile(blocks(), Counting(), SHAPE, path=tmp_path / "table.json")
    assert str(caught.value).isprintable()


def test_a_measurement_of_other_settings_shows_none_of_its_escapes(tmp_path: Path) -> None:
    rounds = {"num_items": 1, "orders": [], "times_ms": [], "seconds": 1.0}
    data = {
        "format": "onepath latency profile in progress, 1",
        "items": ["a"],
        "rounds": rounds,
        "device": {"name": "\x9b31m" * 500},
    }
    written(tmp_path, data, "table.json.part")
    with pytest.raises(ConfigurationError, match="must be of the same settings") as caught:
        profile(blocks(), Counting(), SHAPE, path=tmp_path / "table.json")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_validation": 10**9}, "num_validation must be 10,000 or less"),
        ({"num_calibration": 10**400}, "num_calibration must be 10,000 or less"),
        ({"num_calibration": True}, "num_calibration must be a whole number"),
        ({"max_seconds": float("nan")}, "max_seconds must be from 0"),
        ({"max_seconds": float("inf")}, "max_seconds must be from 0"),
        ({"max_seconds": -1.0}, "max_seconds must be from 0"),
    ],
)
def test_a_profile_has_bounds(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        profile(blocks(), Counting(), SHAPE, path=tmp_path / "table.json", **more)
