"""What a run is asked to do: the options of every run beside those of its method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PrivateAttr, ValidationError, create_model, model_validator

from onepath import option_types as types
from onepath.cost import COSTS
from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.methods import METHODS, Finish, Method, SampledMethod, Settings, find_method, make_method
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.option_types import one_line, option, unknown_option
from onepath.own_code import is_own, is_same, unnamed_code

_PATHS = ("data", "test_data", "data_root", "latency_table", "weights")
_FORMER_NAMES = {"retrain_from": "finish"}
_LIMIT_NAMES = tuple(f"max_{name}" for name in COSTS)
_DIGITS_SPACE = "nasbench-macro"
_DIGITS_LIMITS = (500_000, 1_000_000, 2_000_000)
"""What shows a gain on the bundled 8x8 images within two minutes: three winners of one supernet, each twice as dear."""

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

    The fields here, those of `Settings`, a `max_...` for each cost of `onepath.cost.COSTS`, and those of the method
    (`options`) are all the options there are: the command line, the configuration file and the Python signatures are
    made from them.
    """

    data: types.Text = option(
        "digits",
        "Labelled data: digits, a torchvision dataset, a folder of class folders, an .npz, a .parquet or a .csv.",
        group="Data",
    )
    test_data: types.Text | None = option(None, "Test set, where it is not in the data.", group="Data")
    data_root: types.Text | None = option(None, "Folder where torchvision keeps its downloads.", group="Data")
    target: types.Text | None = option(
        None, "Column of a table that is to be predicted; default: label.", group="Data"
    )
    input_size: types.Pixels | None = option(
        None, "Height and width that images are brought to; default: their own.", group="Data"
    )
    fit: Literal["crop", "pad"] = option(
        "crop",
        "What becomes of images of another aspect ratio: crop cuts their sides off, pad adds black.",
        group="Data",
    )
    channels: Literal["first", "last"] | None = option(
        None,
        "Axis of arrays that holds the channels: first or last; default: guessed from the shape.",
        group="Data",
    )
    kind: types.DataKind | None = option(
        None,
        "What the data are: images, or one sequence each, of arrays; classification or regression of tables; default: "
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
        "Trained model to make smaller, in the place of a space: path/to/file.py:function, timm:NAME or "
        "torchvision:NAME.",
        group="Space",
    )
    weights: types.Text | None = option(
        None, "Weights of the model: a .safetensors file, or one of torch with tensors alone.", group="Space"
    )
    width: types.Width | None = option(
        None, "Factor on the space's channels, at most 100; default: fitted to the limits.", group="Space"
    )
    method: types.Text = option(
        "spos",
        f"How the supernet is trained and searched: {', '.join(METHODS)}; its own options are shown by "
        "`onepath run --method NAME --help`; default: spos, or sandwich for a model.",
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
        "Threads of one inference there; default: those of the latency table, or torch's own number.",
        group="Limits",
    )
    latency_table: types.Text | None = option(
        None,
        "Table or predictor of `onepath profile`; default: one is found from an earlier run, or profiled first.",
        group="Limits",
        metavar="FILE",
    )
    finish: Finish | None = option(
        None,
        "How the winner's weights come about: scratch, inherited (trained on), fine-tuned (trained on for a "
        "quarter of the "
        "epochs at a tenth of the rate), as-is (no further training) or both (scratch and inherited, of "
        "which the better is taken); default: the method's, scratch.",
        group="Finishing",
    )
    num_baselines: types.Trainings = option(
        3, "Random architectures under the same limits, trained alike, to compare with.", group="Finishing"
    )
    workers: types.Processes | None = option(
        None,
        "Processes that train networks at the same time, each with the data, or score them; default: one per core.",
        group="Finishing",
    )
    normalisation: Literal["inside", "outside"] = option(
        "inside",
        "What the exported graphs take: raw values as the data had them (inside), or normalised ones (outside).",
        group="Finishing",
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
        """Option -> limits in percent of what the model that came in costs, before that is known."""
        return self._percentages

    def with_limits(self, limits: Mapping[str, tuple[float, ...]]) -> RunConfig:
        """A copy with limits in the place of the percentages."""
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
        """Option -> its limits, for those that were given."""
        names = (*_LIMIT_NAMES, "max_latency_ms")
        return {name: values for name in names if (values := getattr(self, name)) is not None}

    def limit(self, name: str) -> Any:
        """The limit of this name that this run directory itself is of, the first; None without one."""
        values = self.limits.get(name)
        return None if values is None else values[0]

    @property
    def limit_ms(self) -> float | None:
        """The limit on latency that this run directory itself is of."""
        found: float | None = self.limit("max_latency_ms")
        return found

    def at_limits(self) -> list[dict[str, float]]:
        """For each winner the limits that it is found under, in the order given; one without any limit."""
        num = max((len(values) for values in self.limits.values()), default=1)
        return [
            {name: values[index if len(values) > 1 else 0] for name, values in self.limits.items()}
            for index in range(num)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Every option by its name, those of the method too, as plain values; single limits are no lists."""
        own = {
            **self.model_dump(mode="json"),
            **self.options.model_dump(mode="json", exclude=python_only(self.options)),
        }
        for name in self.limits:
            own[name] = own[name][0] if len(own[name]) == 1 else list(own[name])
        return own

    def changed(self, **options: Any) -> RunConfig:
        """A copy with other values of some options, the method's included; they are not checked again."""
        fields = type(self.options).model_fields
        own = {name: value for name, value in options.items() if name in fields}
        copy = self.model_copy(update={name: value for name, value in options.items() if name not in own})
        copy._options = self.options.model_copy(update=own)
        return copy

    def with_method(self, method: Method) -> RunConfig:
        """A copy with this method."""
        copy = self.model_copy()
        copy._options = method
        return copy

    def at(self, limits: Mapping[str, float], out: Path) -> RunConfig:
        """The configuration of the run under these limits alone, in a directory of its own."""
        names = (*_LIMIT_NAMES, "max_latency_ms")
        single = {name: (limits[name],) if name in limits else None for name in names}
        copy = self.model_copy(update={**single, "out": str(out)})
        copy._given = frozenset()
        return copy

    def directory(self) -> Path:
        """The run directory: `out`, or `runs/<data>-<space>-<method>`."""
        if self.out is not None:
            return Path(self.out).expanduser()
        return Path("runs") / f"{_label(self.data)}-{_label(self.space)}-{_label(self.method)}"


def python_only(method: Method) -> set[str]:
    """Options of a method that cannot be written in a file, with the values that can be left out."""
    fields = type(method).model_fields
    return {
        name
        for name, field in fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("python_only")
    }


def option_fields(method: str | None = None) -> dict[str, Any]:
    """Name -> field of every option of a run of a method; None for those of all methods."""
    kinds = METHODS.values() if method is None else (METHODS[method],)
    fields: dict[str, Any] = dict(RunConfig.model_fields)
    for kind in kinds:
        fields |= {name: field for name, field in kind.model_fields.items() if name not in fields}
    return fields


def make_config(options: Mapping[str, Any], kind: type[Method] | None = None) -> RunConfig:
    """Check options; paths of files become absolute, so that a run can be continued from any directory.

    Args:
        options: option name -> value; what is left out or None takes its default.
        kind: the class of the method, where the caller has it; None finds it, which runs a file of the user's own.

    Raises:
        ConfigurationError: an option does not exist, is out of its range, or does not fit the others.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for old, new in _FORMER_NAMES.items():
        if old in given and given.setdefault(new, given[old]) != given.pop(old):
            raise ConfigurationError(f"{old} is the former name of {new}, but both came; leave {old} out")
    if given.get("model") is not None:
        given.setdefault("method", "sandwich")  # whose winners keep the weights that came in
    kind = find_method(given.get("method", "spos")) if kind is None else kind
    if isinstance(given.get("method"), type):
        given["method"] = kind.name if METHODS.get(kind.name) is kind else GIVEN_IN_PYTHON + kind.name
    percentages = _percentages(given)
    own = {name: value for name, value in given.items() if name in kind.model_fields}
    common = {name: value for name, value in given.items() if name not in own}
    _check_known(common, kind)
    method = make_method(kind, own)
    try:
        config = RunConfig(**{**_defaults(options, kind), **common})
    except ValidationError as error:
        raise ConfigurationError(one_line(error, option_fields())) from error
    if not kind.trains_supernet and config.finish not in (None, "scratch"):
        raise ConfigurationError(
            f"finish: method {kind.name} has no supernet to inherit from, but got {config.finish}; leave it out"
        )
    aims = {f"{name.rpartition('_')[2]}": max(values) for name, values in config.limits.items()}
    if (config.latency_table or "").endswith(".safetensors"):
        aims.pop("ms", None)  # a predictor of whole networks, whose costs do not add up
    method.check_aims(aims)
    names = ["data_root", "space", "latency_table", "method", "model", "weights"]
    # With a root, a bare word names a torchvision dataset even beside a folder called so, as `load_data` has it.
    names += [
        name for name in ("data", "test_data") if config.data_root is None or _is_path(getattr(config, name))
    ]
    config = config.model_copy(
        update={
            "finish": config.finish or kind.finish,
            **{name: absolute(getattr(config, name)) for name in names},
        }
    )
    # A limit that was explicitly left out is an answer; of other options none stands for a default.
    config._options, config._given = (
        method,
        frozenset({*given, *(set(options) & {*_LIMIT_NAMES, "max_latency_ms"})} - set(percentages)),
    )
    config._percentages = percentages
    return config


def _percentages(given: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """Take the limits that are percentages, such as 60%, out of the options."""
    found = {}
    for name in (*_LIMIT_NAMES, "max_latency_ms"):
        if not isinstance(given.get(name), str) or "%" not in given[name]:
            continue
        text = given.pop(name)
        if given.get("model") is None:
            raise ConfigurationError(
                f"{name} in percent is of the model that came in, but none came; give model, or a number"
            )
        try:
            found[name] = types.parse_percentages(text)
        except ValueError as error:
            raise ConfigurationError(f"{name} {error}, but got {shown(text)}; change it") from error
    return found


def _defaults(options: Mapping[str, Any], kind: type[Method]) -> dict[str, Any]:
    """The space, and for the bundled digits limits too, of a run that asks for none."""
    if options.get("model") is not None:
        return {"space": options["model"]}
    is_digits = options.get("data") in (None, "digits") and kind.space == Method.space
    if not is_digits or options.get("space") is not None:
        return {"space": kind.space}
    is_limited = bool(set(options) & {*_LIMIT_NAMES, "max_latency_ms"})
    limits = {} if is_limited or not issubclass(kind, SampledMethod) else {"max_macs": _DIGITS_LIMITS}
    return {"space": _DIGITS_SPACE, **limits}


def _check_known(common: Mapping[str, Any], kind: type[Method]) -> None:
    for name in common:
        takers = [other.name for other in METHODS.values() if name in other.model_fields]
        if name in RunConfig.model_fields:
            continue
        if not takers:
            raise ConfigurationError(unknown_option(name, option_fields()))
        raise ConfigurationError(
            f"{name} is an option of method {' or '.join(takers)}, but method is {kind.name}; leave {name} out, "
            f"or give method {takers[0]}"
        )


def read_stored(stored: Mapping[str, Any], path: Path, kind: type[Method] | None = None) -> RunConfig:
    """The configuration of a run directory; of options that an older onepath stored as null nothing is said.

    Args:
        stored: as the directory has it.
        path: the directory, for messages.
        kind: the class of the method that the caller has named. A directory chooses no code: one of the user's own is
            taken from here alone.

    Raises:
        ConfigurationError: the method is the user's own, and the caller has not named it.
        RunDirectoryError: it is no configuration of this onepath.
    """
    method = str(stored.get("method", ""))
    if is_own(method) and kind is None:
        raise unnamed_code(path, "method", method)
    options = {name: value for name, value in stored.items() if value is not None}
    try:
        return make_config(options, kind if method not in METHODS else None)
    except ConfigurationError as error:
        if method.startswith(GIVEN_IN_PYTHON):
            raise
        raise RunDirectoryError(f"{path} must hold a configuration of this onepath, but {error}") from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, as "option: old -> new"; where the run is kept does not count."""
    names = [
        name for name in {**old, **new} if name != "out" and not _is_same(name, old.get(name), new.get(name))
    ]
    return [f"{name}: {written(old.get(name))} -> {written(new.get(name))}" for name in names]


def _is_path(value: str | None) -> bool:
    return value is not None and ("/" in value or Path(value).suffix != "")


def _is_same(name: str, old: object, new: object) -> bool:
    if name in _PATHS and isinstance(old, str) and isinstance(new, str):
        return Path(old).expanduser().resolve() == Path(new).expanduser().resolve()
    return old == new


def absolute(value: str | None) -> str | None:
    """A path of an existing file, or of code in one, as an absolute path; other texts as they are."""
    if value is None:
        return None
    path, separator, function = value.rpartition(":") if ".py:" in value else (value, "", "")
    if not path.strip():
        return value  # not the working directory; refused where it is read
    # "digits" is the bundled data, even beside a folder called so.
    if value in ("digits", *{kind.space for kind in METHODS.values()}) and not separator:
        return value
    file = Path(path).expanduser()
    try:
        is_there = file.exists()
    except OSError:  # a name longer than any file's, or in a folder that may not be searched
        return value
    return f"{file.absolute()}{separator}{function}" if is_there else value


def _label(name: str) -> str:
    path, _, function = name.rpartition(":")
    label = function if path.endswith(".py") else Path(name).stem or Path(name).name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", label).strip(".-") or "run"


def written(value: object) -> str:
    """A value of an option as its user writes it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
