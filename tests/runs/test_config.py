"""The options of a run: ranges, sizes with suffixes, differences, one line per mistake."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from onepath import runs
from onepath.errors import ConfigurationError
from onepath.runs import make_config, parse_count
from onepath.runs.definition import RunDefinition
from onepath.runs.making import differences, option_fields
from onepath.runs.resolving import resolve_shape


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("30M", 30_000_000),
        ("1.5M", 1_500_000),
        ("250k", 250_000),
        ("250K", 250_000),
        ("2G", 2_000_000_000),
        ("2_000_000", 2_000_000),
        ("17", 17),
        (" 0.001 M ", 1000),
        (5, 5),
        (None, None),
    ],
)
def test_sizes_with_suffixes(text: object, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "M", "3X", "1.5", "-3", "1e6", "30MB", "0.0001k", "nan", "٣x"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="max_macs must be a whole number such as 30M"):
        make_config({"max_macs": text})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be greater than or equal to 1, but got 0; change it"),
        ({"epochs": "many"}, "epochs must be a valid integer.*but got 'many'"),
        ({"max_macs": 0}, "max_macs must be greater than or equal to 1"),
        ({"max_params": 1.5}, "max_params must be a valid integer"),
        ({"width": -1}, "width must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"seed": -1}, "seed must be greater than or equal to 0"),
        ({"method": "spoz"}, "method must be one of spos, fairnas, .*, but got 'spoz'"),
        ({"sampler": "fair"}, "sampler must be 'uniform', 'constrained' or 'widening', but got 'fair'"),
        (
            {"finish": "x"},
            "finish must be 'scratch', 'inherited', 'fine-tuned', 'as-is', 'both' or 'halving'",
        ),
        ({"finish": "both", "retrain_from": "scratch"}, "retrain_from is the former name of finish"),
        (
            {"prefilter": "nwot"},
            "prefilter must be a score and the share that is evaluated, such as nwot:0.2",
        ),
        ({"prefilter": "nwot:1.5"}, "prefilter must be a score and the share"),
        (
            {"prefilter": "nwot:0.2", "method": "darts"},
            "prefilter is an option of method spos or fairnas or one-shot",
        ),
        ({"method": "random", "num": 1500}, "num must be at most 1,000 with method random, .* but got 1,500"),
        ({"train_on": "tpu"}, "train_on must be 'cpu' or 'cuda'"),
        ({"max_mac": 3}, "an option must exist, but max_mac does not; did you mean max_macs"),
        ({"zzz": 3}, "an option must exist, but zzz does not; there are batch_size"),
        ({"max_latency_ms": 3}, "max_latency_ms is a limit on a device, but none came; give device"),
        (
            {"max_latency_ms": "fast", "device": "x"},
            "max_latency_ms must be milliseconds, or several with commas",
        ),
        ({"max_latency_ms": "1,0", "device": "x"}, "max_latency_ms must be greater than 0, but got 0.0"),
        ({"max_latency_ms": "1,nan", "device": "x"}, "max_latency_ms must be.*but got nan"),
        ({"max_latency_ms": [], "device": "x"}, "max_latency_ms .*at least 1 item"),
        (
            {"max_latency_ms": "1,2,1.0", "device": "x"},
            "must be distinct limits, but got 1,2,1; give each once",
        ),
        (
            {"latency_table": "t.json"},
            "latency_table is for a limit on latency, but none came; give max_latency_ms",
        ),
        ({"device_threads": 2}, "device_threads are those of a device, but none came"),
        ({"device": "x", "device_threads": 0}, "device_threads must be greater than or equal to 1"),
        ({"max_macs": "1M,2M", "max_params": "1k,2k,3k"}, "several limits must be as many of each kind"),
        ({"max_memory": "3 furlongs"}, "max_memory must be a number of bytes such as 256KiB"),
    ],
)
def test_every_mistake_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_config(options)
    assert "\n" not in str(caught.value)


def test_default_directory() -> None:
    assert make_config({}).directory() == Path("runs/digits-nasbench-macro-spos")
    named = make_config({"data": "../my data/photos.parquet", "space": "nets/own.py:build"})
    assert named.directory() == Path("runs/photos-build-spos")
    assert make_config({"out": "x/y"}).directory() == Path("x/y")


def test_digits_alone_are_searched_in_a_space_for_small_images_under_three_limits() -> None:
    config = make_config({"epochs": 2})
    assert config.space == "nasbench-macro"
    assert config.limits == {"max_macs": (500_000, 1_000_000, 2_000_000)}
    assert make_config({"max_params": "20k"}).limits == {"max_params": (20_000,)}
    assert make_config({"max_macs": None}).limits == {}
    assert make_config({"space": "shufflenet"}).limits == {}
    assert make_config({"method": "darts"}).space == "nasbench-macro"
    assert make_config({"method": "darts"}).limits == {}
    assert make_config({"method": "random"}).limits == {"max_macs": (500_000,)}
    assert make_config({"method": "fixed"}).limits == {"max_macs": (500_000,)}
    assert make_config({"method": "zen"}).space == "zennas"
    assert make_config({"data": "cifar10"}).space == "shufflenet"
    assert make_config({"data": "cifar10"}).limits == {}
    assert make_config(config.as_dict()).as_dict() == config.as_dict()


def test_files_become_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "digits"):
        (tmp_path / name).mkdir()
    (tmp_path / "own.py").touch()
    config = make_config({"data": "photos", "space": "own.py:build", "test_data": "absent.npz"})
    assert config.data == str(tmp_path / "photos")
    assert config.space == f"{tmp_path / 'own.py'}:build"
    assert config.test_data == "absent.npz"
    assert make_config({}).data == "digits"
    assert make_config({"data": "photos", "data_root": "."}).data == "photos"
    assert make_config({"data": "./photos", "data_root": "."}).data == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (3, (3.0,)),
        (0.5, (0.5,)),
        ("2", (2.0,)),
        ("4, 1,2.5", (4.0, 1.0, 2.5)),
        ([2, 1], (2.0, 1.0)),
        (None, None),
    ],
)
def test_limits_on_latency_are_one_or_several(given: object, limits: tuple[float, ...] | None) -> None:
    config = make_config({"max_latency_ms": given, "device": "torch-cpu"})
    assert config.max_latency_ms == limits
    assert config.limit_ms == (limits[0] if limits else None)
    assert make_config(config.as_dict()).as_dict() == config.as_dict()


def test_differences_name_old_and_new() -> None:
    old = make_config({"max_macs": "2M", "seed": 1, "out": "a"}).as_dict()
    new = make_config({"max_macs": "3M", "epochs": 2, "seed": 1, "out": "b"}).as_dict()
    assert sorted(differences(old, new)) == ["epochs: none -> 2", "max_macs: 2000000 -> 3000000"]
    assert differences(old, old) == []
    assert differences({"max_latency_ms": [1.0]}, {"max_latency_ms": [1.0, 2.5]}) == [
        "max_latency_ms: 1 -> 1,2.5"
    ]


def test_python_and_the_command_line_have_the_options_of_the_fields() -> None:
    names = set(inspect.signature(runs.run).parameters)
    assert set(option_fields()) <= names
    assert names - set(option_fields()) == {"fresh", "progress", "checkpoint_seconds"}


@pytest.mark.parametrize("name", sorted(option_fields()))
def test_every_option_has_a_help_that_stands_alone(name: str) -> None:
    field = option_fields()[name]
    assert field.description
    assert field.description[0].isupper()
    assert field.description.endswith(".") or name.startswith("max_")
    assert field.json_schema_extra["group"] in {
        *("Data", "Space", "Limits", "Training", "Search", "Differentiable", "Finishing", "Run")
    }


def test_the_former_name_of_finish_is_taken() -> None:
    assert make_config({"retrain_from": "both"}).finish == "both"
    assert make_config({}).finish == "scratch"


def test_limits_go_together_by_their_place() -> None:
    config = make_config({"max_macs": "1M,2M", "max_params": "50k", "max_memory": "1KiB,2KiB"})
    assert config.at_limits() == [
        {"max_macs": 10**6, "max_params": 50_000, "max_memory": 1024},
        {"max_macs": 2 * 10**6, "max_params": 50_000, "max_memory": 2048},
    ]
    assert make_config({"space": "shufflenet"}).at_limits() == [{}]
    assert make_config({"max_macs": [3]}).as_dict()["max_macs"] == 3


@pytest.mark.parametrize(
    ("options", "cores", "workers"),
    [
        ({}, 2, 2),
        ({}, 8, 4),
        ({"finish": "both"}, 8, 5),
        ({"num_baselines": 0}, 8, 1),
        ({"train_on": "cuda"}, 8, 1),
        ({"data": "python:arrays"}, 8, 1),
        ({"workers": 3}, 1, 3),
    ],
)
def test_workers_are_one_per_core_unless_asked_for(
    options: dict[str, Any], cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onepath.train.threads.usable_cores", lambda: cores)
    config = make_config({"width": 0.2, **options})
    assert resolve_shape(RunDefinition(Path("x"), config, {})).workers == workers


def test_workers_cannot_load_data_given_in_python() -> None:
    from onepath.runs.resolving import check_early

    check_early(make_config({"data": "python:arrays", "workers": 1}))
    with pytest.raises(
        ConfigurationError, match="workers > 1 needs data and a space that a process can load by name"
    ):
        check_early(make_config({"data": "python:arrays", "workers": 2}))


@pytest.mark.parametrize("name", sorted(set(option_fields("darts")) - {"recipe", "guard"}))
def test_every_number_has_a_largest_value_and_every_text_is_one(name: str) -> None:
    """Of each field that takes numbers none may be endless, true or no number; none that takes texts empty."""
    schema = str(option_fields("darts")[name])
    takes_numbers = "int" in schema.partition("metadata")[0] or "float" in schema.partition("metadata")[0]
    hostile: tuple[object, ...] = ("", " \t", "a\0b", "\udcff", "x" * 5000)
    if takes_numbers:
        hostile += (True, False, 10**40, 10**5000, "9" * 5000, float("nan"), float("inf"), 1e308, -1)
    for value in hostile:
        with pytest.raises(ConfigurationError) as caught:
            make_config({"method": "darts", name: value})
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)


def test_limits_are_generous() -> None:
    config = make_config(
        {"epochs": 1000, "batch_size": 65536, "population": 1000, "generations": 1000, "seed": 2**63 - 1}
        | {"max_macs": "600G", "max_latency_ms": "1000", "device": "torch-cpu", "workers": 64, "width": 8}
        | {
            "input_size": 1024,
            "learning_rate": 32,
            "num_baselines": 100,
            "space_arguments": {"a": [1, "x", None]},
        }
    )
    assert config.limit("max_macs") == 600 * 10**9


def test_numbers_of_numpy_and_whole_floats_are_numbers() -> None:
    import numpy as np

    config = make_config({"epochs": np.int64(3), "width": np.float32(0.5), "batch_size": 32.0, "seed": "7"})
    assert (config.as_dict()["epochs"], config.width, config.batch_size, config.seed) == (3, 0.5, 32, 7)
    with pytest.raises(ConfigurationError, match="epochs must be a number"):
        make_config({"epochs": np.bool_(True)})


def test_a_search_that_is_too_long_altogether() -> None:
    with pytest.raises(
        ConfigurationError, match=r"population \* \(generations \+ 1\) must be at most 100,000,000"
    ):
        make_config({"population": 10**5, "generations": 10**6})


def test_a_value_that_is_nested_without_end_is_not_written_out() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for name in ("epochs", "data", "max_macs", "max_latency_ms"):
        with pytest.raises(ConfigurationError, match=name) as caught:
            make_config({name: deep, "device": "torch-cpu"})
        assert len(str(caught.value)) < 400
    with pytest.raises(ConfigurationError, match="nested at most 10 deep"):
        make_config({"space_arguments": {"a": deep}})
