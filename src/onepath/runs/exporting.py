"""The stage `export`: write files that run without onepath, and check that they compute the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from onepath.errors import UserError
from onepath.record.directory import ARCHITECTURE, ONNX, PROGRAM, TRIALS, WEIGHTS
from onepath.record.stage_records import reading_records
from onepath.runs.opened import Run

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Normalisation, Preprocessing
    from onepath.latency import Device

_NUM_PARITY_IMAGES = 256
_Made = TypeVar("_Made")
LATENCY_DEVICE = "onnxruntime-cpu"


class _Given(TypedDict):
    preprocessing: Preprocessing | None
    normalisation: Normalisation


def export_stage(run: Run) -> None:
    """Write `architecture.json`, `model.safetensors`, `model.pt2` and `model.onnx`, and compare them on test images.

    If `model.pt2` or `model.onnx` cannot express the network, that file is not written, and a note says why.
    """
    from onepath import export

    with run.stage("export") as clock:
        run.progress.begin("exporting", 4)
        store, directory = run.directory.store, run.directory.path
        start = store.stage("retrain").record["exported"]
        with reading_records(directory / TRIALS):
            (winner,) = (row for row in store.networks() if (row.role, row.start) == ("winner", start))
        architecture = run.blank.space.parse(winner.architecture)
        model = run.network(architecture, start, f"winner-{start}")
        run.directory.write_json(
            ARCHITECTURE,
            {
                "space": run.config.space,
                "architecture": str(architecture),
                "notation": run.blank.space.format(architecture),
                "options": architecture.options,
            },
        )
        run.progress.advance(1, WEIGHTS)
        export.save_weights(
            model,
            directory / WEIGHTS,
            input_shape=run.input_shape,
            class_names=run.facts["class_names"],
            preprocessing=run.task.preprocessing,
            metadata={
                "architecture": str(architecture),
                "space": _space_name(run.config.space),
                "layers": f"those of Supernet.extract(architecture, inherit={start != 'scratch'}); "
                "onepath.load_run(DIRECTORY).model() gives the module with these weights",
            },
        )
        exported = _exported(run, model)
        clock.record = {"start": start, "preprocessing": _preprocessing_record(run), **exported}
        if run.blank.conversion is not None:
            from onepath.runs.model_given import model_record

            clock.record["model"] = model_record(run, model, _device(run))


def _space_name(space: str) -> str:
    """Return the name of a space without the folders of the user's file, so that equal runs write equal bytes."""
    return Path(space).name if ".py:" in space else space


def _preprocessing_record(run: Run) -> dict[str, Any] | None:
    """Return how an input of the exported graphs is prepared, and code that does it; None if the task does not say."""
    preprocessing, normalisation = run.task.preprocessing, run.config.normalisation
    if preprocessing is None:
        return None
    has_onnx = (run.directory.path / ONNX).is_file()
    snippet = preprocessing.snippet(ONNX, normalisation) if has_onnx else None
    return {**preprocessing.document(normalisation), "snippet": snippet}


def _exported(run: Run, model: nn.Module) -> dict[str, Any]:
    """Write `model.pt2` and `model.onnx`; return the error of each, None if it is not possible, and the latency."""
    from onepath import export

    record: dict[str, Any] = dict.fromkeys(("onnx_max_abs_error", "pt2_max_abs_error", "latency_ms"))
    exported: Path | None = None
    shape, program, onnx = run.input_shape, run.directory.path / PROGRAM, run.directory.path / ONNX
    preprocessing, normalisation = run.task.preprocessing, run.config.normalisation
    inputs = run.task.example_inputs("test", _NUM_PARITY_IMAGES)
    takes_raw = preprocessing is not None and normalisation == "inside"
    raw = run.task.raw_inputs("test", _NUM_PARITY_IMAGES) if takes_raw else inputs
    for old in (program, onnx):
        old.unlink(missing_ok=True)
    run.progress.advance(2, PROGRAM)
    given: _Given = {"preprocessing": preprocessing, "normalisation": normalisation}
    traced = _attempt(run, f"{PROGRAM} and {ONNX}", lambda: export.trace(model, shape, **given))
    if traced is not None:
        export.export_program(traced, shape, program, **given)
        record["pt2_max_abs_error"] = export.program_max_abs_error(model, program, inputs, raw=raw)
        run.progress.advance(3, ONNX)
        if _attempt(run, ONNX, lambda: export.export_onnx(traced, shape, onnx, **given)) is not None:
            record["onnx_max_abs_error"] = export.onnx_max_abs_error(model, onnx, inputs, raw=raw)
            exported = onnx
    run.progress.advance(4)
    return record | _measured(run, model, exported)


def _measured(run: Run, model: nn.Module, onnx: Path | None) -> dict[str, Any]:
    """Measure the latency of the exported network on the device; a note says if the measurement is noisy.

    A device that runs ONNX files times the file itself, with its normalisation; any other device times the network
    alone, which is what a limit applies to. Under a limit, the measurement that chose the winner is the one that
    counts, and this one is stored beside it.
    """
    from onepath import latency

    config, device = run.config, _device(run)
    takes_files = isinstance(device, latency.OnnxDevice)
    if takes_files and onnx is None:
        return {}
    network = onnx if takes_files and onnx is not None else model
    (measured,) = latency.measure(device, [network], run.input_shape)
    if measured.is_noisy:
        run.progress.note(
            f"the latency is noisy: {measured.median_ms:.3f} ms with an interquartile range of "
            f"{measured.iqr_ms:.3f} ms; the machine is busy"
        )
    elif config.limit_ms is not None and not measured.is_within(config.limit_ms):
        run.progress.note(
            f"measured once more, the network takes {measured.median_ms:.3f} ms (IQR {measured.iqr_ms:.3f} ms), with "
            f"its spread over the {config.limit_ms:g} ms that it met before: the machine's speed changes, and a file "
            "normalises its input as well"
        )
    return {
        "latency_ms": measured.median_ms,
        "latency": {"device": device.name, **asdict(measured), "settings": device.settings()},
    }


def _device(run: Run) -> Device:
    """Return the device on which the exported network is timed."""
    from onepath import latency

    return latency.device(LATENCY_DEVICE) if run.config.device is None else run.latencies.device


def _attempt(run: Run, name: str, make: Callable[[], _Made]) -> _Made | None:
    try:
        return make()
    except UserError as error:
        # Subclasses are about the directory or the shape; UserError itself says that the format cannot express this.
        if type(error) is not UserError:
            raise
        run.progress.note(f"no {name}: {error}")
        return None
