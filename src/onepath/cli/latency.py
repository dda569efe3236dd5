"""The work of `onepath profile` and of `onepath cost` with `--device` or `--compare`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError

if TYPE_CHECKING:
    from onepath.nn import Supernet


def profile_layers(
    space: str,
    device_name: str,
    out: str,
    *,
    sizes: Mapping[str, Any],
    arguments: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    fresh: bool,
    max_seconds: float,
    networks: tuple[int, int],
) -> dict[str, Any]:
    """Measure a layer-wise latency table, and return a summary of what was found.

    Args:
        space: name of the space.
        device_name: name of the device.
        out: path of the table, which ends in .json.
        sizes: values of "num_classes", "input_size", "in_channels" and "width".
        arguments: further arguments of the space: name -> value.
        settings: values of "threads", "batch" and "precision" of the device.
        seed: seed of the networks that are drawn.
        fresh: whether a table that exists is started over.
        max_seconds: largest number of seconds of timing.
        networks: number of whole networks for the calibration, and for the validation.

    Raises:
        ConfigurationError: `out` has another ending, or its directory does not exist; or the space or the device
            does not exist or refuses its arguments.
    """
    from onepath.cli.progress import make_progress
    from onepath.latency import device
    from onepath.latency.evidence import sentence
    from onepath.latency.profiling import profile

    supernet = _built(space, sizes, arguments)
    path = _file(out, ".json")
    began, shown = time.monotonic(), make_progress()
    stages = {"prepare": "prepare networks and candidates", "measure": "measure (percent)"}
    stage = ""

    def progress(name: str, share: float, note: str) -> None:
        nonlocal stage
        if name != stage:
            stage = name
            shown.begin(stages[name], 100)
        shown.advance(round(100 * share), note)

    try:
        table = profile(
            supernet,
            device(device_name, **settings),
            _shape(sizes),
            path=path,
            seed=seed,
            num_calibration=networks[0],
            num_validation=networks[1],
            space_name=space,
            arguments={name: value for name, value in {**sizes, **arguments}.items() if value is not None},
            max_seconds=max_seconds,
            fresh=fresh,
            progress=progress,
        )
    finally:
        shown.finish()
    noisy = [key for key, entry in table.entries.items() if entry.is_noisy]
    return {
        "space": table.space_name,
        "device": dict(table.device),
        "entries": len(table.entries),
        "noisy_entries": noisy,
        "calibration": table.calibration._asdict(),
        "errors": dict(table.errors),
        "text": sentence(table),
        "rounds": table.evidence["rounds"],
        "seconds": {"timing": table.evidence["seconds"], "this_call": time.monotonic() - began},
        "files": {"table": str(path), "page": str(path.with_suffix(".html"))},
    }


def profile_whole(
    space: str,
    device_name: str,
    out: str,
    num: int,
    *,
    sizes: Mapping[str, Any],
    arguments: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Measure `num` whole networks, fit a predictor of latency to them, and return a summary.

    `out` ends in .safetensors; see `profile_layers` for the other arguments.
    """
    from onepath.latency import device
    from onepath.latency.predictor import profile_networks

    path = _file(out, ".safetensors")
    supernet = _built(space, sizes, arguments)
    with _counted("measure networks") as progress:
        predictor = profile_networks(
            supernet,
            device(device_name, **settings),
            _shape(sizes),
            num,
            path=path,
            seed=seed,
            space_name=space,
            progress=progress,
        )
    return {
        "space": space,
        "device": dict(predictor.device),
        "winner": predictor.winner,
        "error_ms_95": predictor.error_ms_95,
        "models": predictor.comparison["models"],
        "files": {
            "predictor": str(path),
            "report": str(path.with_suffix(".report.json")),
            "page": str(path.with_suffix(".report.html")),
        },
    }


def compare_space(
    space: str,
    device_name: str,
    num: int,
    out: str | None,
    *,
    sizes: Mapping[str, Any],
    arguments: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    max_seconds: float,
) -> dict[str, Any]:
    """Measure `num` random architectures, write a page, and return their MACs, parameters and latencies.

    `out` ends in .html; None takes a name made from the space and the device. See `profile_layers` for the other
    arguments.
    """
    from onepath.latency import device
    from onepath.latency.ranking import compare, comparison_page
    from onepath.record import atomic_write_text

    path = _file(out or default_name(space, device_name, "compare", ".html"), ".html")
    supernet = _built(space, sizes, arguments)
    with _counted("prepare networks") as progress:
        compared = compare(
            supernet,
            device(device_name, **settings),
            _shape(sizes),
            num,
            seed=seed,
            max_seconds=max_seconds,
            progress=progress,
        )
    atomic_write_text(path, comparison_page(space, compared))
    return {"space": space, **compared, "files": {"page": str(path)}}


def measured_latency(
    space: str,
    architecture: str,
    device_name: str,
    *,
    sizes: Mapping[str, Any],
    arguments: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure the latency of one architecture, given as text; see `profile_layers` for the other arguments."""
    from onepath.latency import device, measure

    supernet = _built(space, sizes, arguments)
    model = supernet.extract(supernet.space.parse(architecture), inherit=False)
    where = device(device_name, **settings)
    (latency,) = measure(where, [model], _shape(sizes))
    return {
        "latency_ms": latency.median_ms,
        "latency_iqr_ms": latency.iqr_ms,
        "latency_is_noisy": latency.is_noisy,
        "latency_device": where.settings(),
    }


def default_name(space: str, device_name: str, what: str, ending: str) -> str:
    """Return a file name, without a folder, for a space and a device.

    Args:
        space: name of the space.
        device_name: name of the device.
        what: kind of the file, such as "latency".
        ending: ending of the file, such as ".json".
    """
    plain = ["".join(c if c.isalnum() else "-" for c in Path(name).name) for name in (space, device_name)]
    return f"{plain[0]}-{plain[1]}-{what}{ending}"


class _counted:  # noqa: N801  a context manager that reads as a function
    """A context that shows the progress of work which calls `progress(done, total)`."""

    def __init__(self, title: str) -> None:
        from onepath.cli.progress import make_progress

        self._title, self._shown, self._is_begun = title, make_progress(), False

    def __enter__(self) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if not self._is_begun:
                self._shown.begin(self._title, total, done)
                self._is_begun = True
            self._shown.advance(done)

        return progress

    def __exit__(self, *_error: object) -> None:
        self._shown.finish()


def _built(space: str, sizes: Mapping[str, Any], arguments: Mapping[str, Any]) -> Supernet:
    from onepath import spaces

    return spaces.build(space, **sizes, **arguments)


def _shape(sizes: Mapping[str, Any]) -> tuple[int, int, int]:
    return sizes["in_channels"], sizes["input_size"], sizes["input_size"]


def _file(out: str, ending: str) -> Path:
    path = Path(out)
    if path.suffix != ending:
        raise ConfigurationError(f"--out must end in {ending}, but got {path.name}; rename it")
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"--out must be in an existing directory, but {path.parent} is none; make it"
        )
    return path
