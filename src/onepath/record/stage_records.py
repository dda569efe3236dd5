"""The keys and types of the stages' records, checked when a row is read, so that readers can rely on them.

The check refuses a value of another type, and a nested dictionary that lacks a key. A key of the record itself may be
absent while the stage is running, or in a run of an older onepath; reading it by `[...]` raises a RunDirectoryError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onepath.errors import RunDirectoryError, UserError, shown
from onepath.record.atomic import damaged_error
from onepath.record.rows import STARTS

_Check = Callable[[object], bool]


class Recorded(dict[str, Any]):
    """The record of a stage; reading an absent key by `[...]` raises a RunDirectoryError that names the store.

    Args:
        content: keys and values of the record.
        path: path of the store.
    """

    def __init__(self, content: Mapping[str, Any] | Iterable[Any] = (), path: Path | None = None) -> None:
        super().__init__(content)
        self._path = path or Path()

    def copy(self) -> Recorded:
        """Return a shallow copy, which names the same store in its errors."""
        return Recorded(self, self._path)

    def __missing__(self, key: str) -> Any:
        raise damaged_error(self._path)


@contextmanager
def reading_records(path: Path) -> Iterator[None]:
    """Turn the errors of code that reads a run's records into RunDirectoryErrors; for a `with` around that code.

    Args:
        path: path of the run directory, for the message.

    Raises:
        RunDirectoryError: the code raised an error such as LookupError or TypeError, because the records do not fit
            together; the message has its type and text. A UserError is raised as it is.
    """
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise RunDirectoryError(
            f"the records in {path} must fit together, but they do not ({type(error).__name__}: {shown(error)}); start "
            "over with --fresh"
        ) from error


def is_record(stage: str, record: object) -> bool:
    """Return whether the record is a dictionary whose known keys have values of the types that the stage writes."""
    return isinstance(record, dict) and all(
        check(record[key]) for key, check in _STAGES.get(stage, {}).items() if key in record
    )


def _of(*types: type) -> _Check:
    """Return a check that a value has exactly one of the types, so that a bool is not an int."""
    return lambda value: type(value) in types


def _maybe(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _each(check: _Check, least: int = 0) -> _Check:
    """Return a check for a list of at least `least` values that each pass `check`."""
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(check, value))


def _by_name(check: _Check) -> _Check:
    """Return a check for a dictionary whose values each pass `check`."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _fields(required: Mapping[str, _Check], optional: Mapping[str, _Check] | None = None) -> _Check:
    """Return a check for a dictionary with the required keys and perhaps the optional ones; other keys are ignored."""

    def check(value: object) -> bool:
        if not isinstance(value, dict) or not required.keys() <= value.keys():
            return False
        every = {**(optional or {}), **required}
        return all(each(value[key]) for key, each in every.items() if key in value)

    return check


def _whole(least: int) -> _Check:
    return lambda value: type(value) is int and value >= least


def _one_of(*values: str) -> _Check:
    return lambda value: isinstance(value, str) and value in values


def _shape_or_shapes(value: object) -> bool:
    """Check for the shape of one tensor, or a list of the shapes of several tensors."""
    return _each(_whole(1), 1)(value) or _each(_each(_whole(1)), 1)(value)


_text, _flag, _number, _count = _of(str), _of(bool), _of(int, float), _whole(0)
_scalar = _of(str, int, float, bool)
_option = _of(str, int, float, bool, list)
_start = _one_of(*STARTS)
_counts = _by_name(_by_name(_count))
_latency = {
    "median_ms": _number,
    "iqr_ms": _number,
    "is_noisy": _flag,
    "repeats": _count,
    "threads": _maybe(_count),
}
_network = {
    "role": _text,
    "start": _start,
    "architecture": _text,
    "seed": _count,
    "inherited_validation": _maybe(_number),
}
_point = _fields(
    {"epoch": _count, "entropy": _number, "num_skips": _count, "weights": _by_name(_each(_number, 1))},
    {"num_choices": _count, "loss": _maybe(_number), "eigenvalue": _maybe(_number)},
)
_seed = _fields(
    {
        "seed": _count,
        "architecture": _text,
        "inherited_validation": _maybe(_number),
        "loss": _maybe(_number),
        "macs": _maybe(_count),
        "params": _maybe(_count),
        "entropy": _number,
        "num_skips": _count,
        "stopped": _maybe(_text),
    }
)
_guard = _fields(
    {},
    {"max_skips": _maybe(_count), "eigenvalue_ratio": _maybe(_number), "window": _maybe(_count)},
)
_relaxed = _fields(
    {"logits": _by_name(_of(list))},
    {
        "candidates": _by_name(_each(_text, 1)),
        "points": _each(_point),
        "warmup_epochs": _maybe(_count),
        "order": _text,
        "guard": _maybe(_guard),
        "stopped": _maybe(_text),
        "stopped_epoch": _maybe(_count),
        "kept_epoch": _maybe(_count),
        "seed": _count,
        "seeds": _each(_seed),
    },
)
_controlled = _fields(
    {"controller": _text},
    {"points": _each(_fields({"epoch": _count, "entropy": _number, "reward": _number, "baseline": _number}))},
)
_front = _fields(
    {"trials": _each(_count), "hypervolume": _maybe(_number), "reference": _by_name(_number)},
    {"decides_ties": _flag},
)
_input = _fields({"shape": _each(_of(str, int), 2), "dtype": _text})
_preprocessing = _fields(
    {"summary": _text, "snippet": _maybe(_text)},
    {
        "kind": _text,
        "input": _input,
        "mean": _each(_number),
        "std": _each(_number),
        "full_scale": _number,
        "raw_dtype": _text,
        "fit": _one_of("crop", "pad"),
        "background": _maybe(_count),
    },
)
_predictor = _fields(
    {
        "num_pairs": _whole(1),
        "error": _number,
        "tau": _maybe(_number),
        "held_out": _each(_number, 1),
        "accuracies": _each(_number, 1),
        "costs": _by_name(_each(_number, 1)),
    }
)
_layer = _fields(
    {
        "path": _text,
        "kind": _text,
        "width": _whole(1),
        "kept_width": _maybe(_count),
        "kernel": _each(_count),
        "kept_kernel": _each(_count),
    }
)
_model = _fields(
    {
        "name": _text,
        "costs": _by_name(_number),
        **dict.fromkeys(("validation", "test", "latency_ms", "winner_latency_ms"), _number),
        "latency_device": _text,
        "is_noisy": _flag,
        "agreement": _maybe(_number),
    },
    {"winner_costs": _by_name(_number), "layers": _each(_layer)},
)
_STAGES: Mapping[str, Mapping[str, _Check]] = {
    "data": {
        "name": _text,
        **dict.fromkeys(("train", "validation", "test", "classes"), _whole(1)),
        "input_shape": _shape_or_shapes,
        "is_text": _flag,
        "class_names": _each(_text),
        "fingerprint": _text,
        "notes": _each(_text),
        "metric": _fields({"name": _text, "higher_is_better": _flag, "is_share": _flag}),
        "format": _count,
        "recipe": _by_name(_maybe(_scalar)),
        "fitted_width": _maybe(_number),
        "budget": _fields({"seconds": _number, "planned": _by_name(_number), "plans_finish": _flag}),
        "num_paths": _whole(1),
        "space_fingerprint": _text,
        "sources": _by_name(_text),
        "percentages": _by_name(_each(_number, 1)),
        "given": _each(_text),
    },
    "profile": {"file": _text, "error_ms_95": _maybe(_number), "mape_percent": _maybe(_number)},
    "train": {
        "num_updates": _count,
        "counts": _counts,
        "start": _fields({}, {"num_updates": _count, "counts": _counts}),
        "architecture": lambda value: _relaxed(value) or _controlled(value),
        "searches": _each(_of(dict)),
    },
    "search": {
        "space_size": _whole(1),
        "winner": _text,
        "finalists": _each(_text, 1),
        "space_choices": _each(_fields({"name": _text, "options": _each(_option, 1)})),
        "active": _by_name(_option),
        "limit": _by_name(_number),
        "front": _maybe(_front),
        "score": _maybe(_fields({"name": _text, "num_degenerate": _count})),
        "num_random_legal": _count,
        "estimated": _text,
        "predictor": _maybe(_predictor),
        "screen_ms": _maybe(_number),
        "predicted_ms": _each(_maybe(_number)),
    },
    "latency": {
        "settings": _fields({"name": _text}, {"threads": _maybe(_count)}),
        "measured": _by_name(
            _fields({key: _latency[key] for key in ("median_ms", "iqr_ms", "is_noisy")}, _latency)
        ),
    },
    "retrain": {
        "networks": _each(_fields(_network, {"share": _number, "seconds": _maybe(_number)})),
        "exported": _start,
        "epochs": _maybe(_number),
        "training_seconds": _maybe(_number),
        "finals": _each(_fields({"share": _number, "scores": _by_name(_number)})),
    },
    "export": {
        "start": _start,
        "preprocessing": _maybe(_preprocessing),
        "latency": _maybe(_fields({}, {"device": _text, **_latency})),
        **dict.fromkeys(("onnx_max_abs_error", "pt2_max_abs_error", "latency_ms"), _maybe(_number)),
        "model": _model,
    },
}
