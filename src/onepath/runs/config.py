"""The configuration of a run: the options that every run has, and the method with its own options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PrivateAttr, create_model, model_validator

from onepath import option_types as types
from onepath.cost import COSTS
from onepath.methods import METHODS, Finish, Method, Settings
from onepath.option_types import option
from onepath.own_code import is_same

LIMIT_NAMES = tuple(f"max_{name}" for name in COSTS)

if TYPE_CHECKING:
    _WithCosts = Settings
else:
    # A limit for each cost that there is.
    _WithCosts = create_model(
        "_WithCosts",
        __base__=Settings,
        **{
            f"max_{cost.name}": (
                cost.limit_type | None,
                option(
                    None,
                    f"{cost.help}; with several, one winner for each.",
                    group="Limits",
                    metavar="N[,N...]",
                ),
            )
            for cost in COSTS.values()
        },
    )


class RunConfig(_WithCosts):
    """The options of a run; None stands for a default that depends on the data, the space or the limits.

    The options are the fields of this class, the fields of `Settings`, one `max_...` for each cost of
    `onepath.cost.COSTS`, and the fields of the method (`options`). The command line, the configuration file and the
    Python signatures are made from them.
    """

    data: types.Text = option(
        "digits",
        "Labelled data: digits, a torchvision dataset, a folder of class folders, an .npz, a .parquet or a .csv.",
        group="Data",
    )
    test_data: types.Text | None = option(None, "Test set, if it is not part of the data.", group="Data")
    data_root: types.Text | None = option(None, "Folder where torchvision keeps its downloads.", group="Data")
    target: types.Text | None = option(
        None, "Column of a table that is to be predicted; default: label.", group="Data"
    )
    input_size: types.Pixels | None = option(
        None, "Height and width that images are resized to; default: their own.", group="Data"
    )
    fit: Literal["crop", "pad"] = option(
        "crop",
        "How images of another aspect ratio are fitted: crop cuts their sides off, pad adds black.",
        group="Data",
    )
    channels: Literal["first", "last"] | None = option(
        None,
        "Axis of arrays that holds the channels: first or last; default: guessed from the shape.",
        group="Data",
    )
    kind: types.DataKind | None = option(
        None,
        "Kind of the data: whether arrays hold images or each array is one sequence, or what the targets are; default: "
        "guessed from shape and values.",
        group="Data",
    )
    space: types.Text = option(
        "shufflenet",
        "Search space: one of `onepath spaces`, or path/to/file.py:function; default: shufflenet, nasbench-macro for "
        "digits, zennas for method zen.",
        group="Space",
    )
    space_arguments: types.SpaceArguments = option(
        {}, "Further argument of the space as name=value; may be repeated.", group="Space"
    )
    model: types.Text | None = option(
        None,
        "Trained model to make smaller, instead of a space: path/to/file.py:function, timm:NAME or torchvision:NAME.",
        group="Space",
    )
    weights: types.Text | None = option(
        None, "Weights of the model: a .safetensors file, or a torch file with only tensors.", group="Space"
    )
    width: types.Width | None = option(
        None, "Factor on the space's channels, at most 100; default: fitted to the limits.", group="Space"
    )
    method: types.Text = option(
        "spos",
        f"How the supernet is trained and searched: {', '.join(METHODS)}; its own options are shown by "
        "`onepath run --method NAME --help`; default: spos; naswot with a budget; sandwich for a model.",
        group="Space",
    )
    max_latency_ms: types.Latencies | None = option(
        None,
        "Largest latency on the device in ms; with several, one winner for each.",
        group="Limits",
        metavar="MS[,MS...]",
    )
    device: types.Text | None = option(
        None, "Device where latency is measured: one of `onepath devices`.", group="Limits"
    )
    device_threads: types.Threads | None = option(
        None,
        "Threads of one inference on the device; default: those of the latency table, or torch's own number.",
        group="Limits",
    )
    latency_table: types.Text | None = option(
        None,
        "Latency table or predictor written by `onepath profile`; default: a table kept from an earlier run, or "
        "profiled first.",
        group="Limits",
        metavar="FILE",
    )
    finish: Finish | None = option(
        None,
        "How the winner gets its weights: scratch, inherited (trained further), fine-tuned (trained further for a "
        "quarter of the epochs at a tenth of the rate), as-is (no further training), both (scratch and inherited, of "
        "which the better is taken) or halving (the best networks of the search from scratch, of which the better half "
        "goes on again and again); default: the method's, mostly scratch.",
        group="Finishing",
    )
    finalists: types.Finalists | None = option(
        None,
        "Best networks of the search that are finished; the validation split chooses the winner among them; default: "
        "1, with finish halving 4, with method random every network.",
        group="Finishing",
    )
    num_baselines: types.Trainings = option(
        3,
        "Random architectures under the same limits, trained like the winner for comparison.",
        group="Finishing",
    )
    workers: types.Processes | None = option(
        None,
        "Processes that train networks at the same time, each with its own copy of the data, or score networks; "
        "default: one per core, with a budget 1.",
        group="Finishing",
    )
    normalisation: Literal["inside", "outside"] = option(
        "inside",
        "Where inputs are normalised: inside the exported graphs, which take raw values, or outside of them.",
        group="Finishing",
    )
    budget: types.Duration | None = option(
        None,
        "Time for the whole run, such as 45m or 2h: the epochs of the supernet and of the networks that are finished "
        "are planned from a few timed updates; options that are given stay as they are.",
        group="Run",
        metavar="TIME",
    )
    train_on: Literal["cpu", "cuda"] = option("cpu", "Where networks are trained: cpu or cuda.")
    out: types.Text | None = option(
        None, "Run directory; default: runs/<data>-<space>-<method>.", group="Run"
    )

    _options: Method = PrivateAttr()
    _given: frozenset[str] = PrivateAttr(default=frozenset())
    _percentages: dict[str, tuple[float, ...]] = PrivateAttr(default_factory=dict)

    @property
    def options(self) -> Method:
        """The method with its options."""
        return self._options

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that were given."""
        return self._given

    @property
    def percentages(self) -> dict[str, tuple[float, ...]]:
        """Option name -> limits in percent of the converted model's cost; empty after `with_limits`."""
        return self._percentages

    def with_limits(self, limits: Mapping[str, tuple[float, ...]]) -> RunConfig:
        """Return a copy with limits instead of the percentages.

        Args:
            limits: option name -> limits, not checked again.
        """
        copy = self.model_copy(update=dict(limits))
        copy._percentages = {}
        return copy

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.weights is not None and self.model is None:
            raise ValueError("weights are those of a model, but none came; give model")
        if self.model is not None and not is_same(self.model, self.space):
            raise ValueError(
                f"model takes the place of a space, but both came, {self.model} and {self.space}; give one"
            )
        if self.model is not None and self.width is not None:
            raise ValueError(
                "width is a factor on the channels of a space, but a model came; give the space argument widths, the "
                "shares of its channels"
            )
        limits = self.max_latency_ms
        if limits is not None and self.device is None and self.latency_table is None:
            raise ValueError(
                "max_latency_ms is a limit on a device, but none came; give device, one of `onepath devices`"
            )
        if limits is None and self.latency_table is not None:
            raise ValueError(
                "latency_table is for a limit on latency, but none came; give max_latency_ms, or leave it out"
            )
        if self.device_threads is not None and self.device is None and self.latency_table is None:
            raise ValueError("device_threads are those of a device, but none came; give device")
        several = {name: values for name, values in self.limits.items() if len(values) > 1}
        if several and self.budget is not None:
            raise ValueError(
                f"a budget is planned for one winner, but {next(iter(several))} has several limits; give one, or leave "
                "budget out"
            )
        if len({len(values) for values in several.values()}) > 1:
            shown = "; ".join(f"{name} {written(values)}" for name, values in several.items())
            raise ValueError(
                f"several limits must be as many of each kind, but got {shown}; give one of a kind, or as many of each"
            )
        rows = list(zip(*several.values(), strict=True))
        if len(set(rows)) < len(rows):
            name = next(iter(several))
            raise ValueError(
                f"{name} must be distinct limits, but got {written(several[name])}; give each once"
            )
        return self

    @property
    def limits(self) -> dict[str, tuple[float, ...]]:
        """Option name -> limits, for the limits that were given."""
        names = (*LIMIT_NAMES, "max_latency_ms")
        return {name: values for name in names if (values := getattr(self, name)) is not None}

    def limit(self, name: str) -> Any:
        """Return the first limit of an option, which is the limit of this run directory itself; None without one.

        Args:
            name: option name, such as "max_macs".
        """
        values = self.limits.get(name)
        return None if values is None else values[0]

    @property
    def limit_ms(self) -> float | None:
        """Limit on latency of this run directory itself, in ms; None without one."""
        found: float | None = self.limit("max_latency_ms")
        return found

    def at_limits(self) -> list[dict[str, float]]:
        """Return option name -> limit for each winner, in the order given; one empty dictionary without any limit."""
        num = max((len(values) for values in self.limits.values()), default=1)
        return [
            {name: values[index if len(values) > 1 else 0] for name, values in self.limits.items()}
            for index in range(num)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return every option by its name, the method's included, as plain values; a single limit is not a list."""
        own = {
            **self.model_dump(mode="json"),
            **self.options.model_dump(mode="json", exclude=python_only(self.options)),
        }
        for name in self.limits:
            own[name] = own[name][0] if len(own[name]) == 1 else list(own[name])
        return own

    def changed(self, **options: Any) -> RunConfig:
        """Return a copy with other values of some options, the method's included; the values are not checked."""
        fields = type(self.options).model_fields
        own = {name: value for name, value in options.items() if name in fields}
        copy = self.model_copy(update={name: value for name, value in options.items() if name not in own})
        copy._options = self.options.model_copy(update=own)
        return copy

    def with_method(self, method: Method) -> RunConfig:
        """Return a copy with this method."""
        copy = self.model_copy()
        copy._options = method
        return copy

    def at(self, limits: Mapping[str, float], out: Path) -> RunConfig:
        """Return the configuration of a run under these limits alone.

        Args:
            limits: option name -> limit; limits that are left out become None.
            out: run directory of that run.
        """
        names = (*LIMIT_NAMES, "max_latency_ms")
        single = {name: (limits[name],) if name in limits else None for name in names}
        copy = self.model_copy(update={**single, "out": str(out)})
        copy._given = frozenset()
        return copy

    def directory(self) -> Path:
        """Return the run directory: `out`, or `runs/<data>-<space>-<method>`."""
        if self.out is not None:
            return Path(self.out).expanduser()
        return Path("runs") / f"{_label(self.data)}-{_label(self.space)}-{_label(self.method)}"


def python_only(method: Method) -> set[str]:
    """Return the names of a method's options that are only for Python and whose values a file cannot hold."""
    return {
        name
        for name, field in type(method).model_fields.items()
        if isinstance(field.json_schema_extra, dict)
        and field.json_schema_extra.get("python_only")
        and not _is_plain(getattr(method, name))
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _label(name: str) -> str:
    path, _, function = name.rpartition(":")
    label = function if path.endswith(".py") else Path(name).stem or Path(name).name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip(".-") or "run"


def written(value: object) -> str:
    """Return the value of an option as text, as a user writes it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
