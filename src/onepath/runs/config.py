"""What a run is asked to do: every option, its default and its range."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from onepath import most
from onepath.errors import ConfigurationError, shown
from onepath.runs import option_types as types
from onepath.runs.methods import METHODS
from onepath.runs.relaxed_options import check_relaxed_options
from onepath.runs.scored import parse_prefilter

_PATHS = ("data", "test_data", "data_root", "latency_table")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_MOST_DIGITS = 100
_COUNT = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([a-zA-Z]?)")


def parse_count(value: object) -> object:
    """A number that may be written as 30M, 1.5M, 250k, 2G or 2_000_000; what is not text is returned as it is.

    Raises:
        ValueError: the text is not such a number, or not a whole one.
    """
    if not isinstance(value, str):
        return value
    match = _COUNT.fullmatch(value.strip()) if len(value) <= _MOST_DIGITS else None
    suffix = match[2].lower().replace("m", "M").replace("g", "G") if match else "?"
    if match is None or suffix not in _FACTORS:
        raise ValueError("must be a whole number such as 30M, 1.5M, 250k, 2G or 2_000_000")
    number = Decimal(match[1].replace("_", "")) * _FACTORS[suffix]
    if number != int(number):
        raise ValueError("must be a whole number such as 30M, 1.5M, 250k, 2G or 2_000_000")
    return int(number)


def parse_limits(value: object) -> object:
    """One or several latencies, also as a text with commas; what is neither text nor number is returned as it is.

    Raises:
        ValueError: the text holds something other than numbers.
    """
    if isinstance(value, int | float):
        return (value,)
    if not isinstance(value, str):
        return value
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("must be milliseconds, or several with commas such as 1,2,4") from None


def check_prefilter(value: str) -> str:
    """A prefilter as it was given, if it names a score and a share.

    Raises:
        ValueError: it is not NAME:SHARE with a share above 0 and at most 1.
    """
    parse_prefilter(value)
    return value


Latencies = Annotated[
    tuple[types.Milliseconds, ...],
    BeforeValidator(parse_limits),
    Field(min_length=1, max_length=most.LIMITS),
]
Count = Annotated[int, BeforeValidator(parse_count), types.Number, Field(ge=1, le=most.COUNT)]


class RunConfig(BaseModel):
    """The options of `run`; None stands for a default that depends on the data or the space.

    Attributes:
        data: "digits", a torchvision dataset, a folder, an .npz or a .parquet file.
        test_data: the test set, where it is not in `data`.
        data_root: where torchvision keeps its downloads.
        input_size: height and width that images are brought to; None keeps theirs.
        fit: "crop" cuts the sides of images of another aspect ratio off, "pad" adds black to them.
        channels: "first" or "last" axis of arrays; None guesses, and says so.
        kind: whether arrays hold "images" or are each a "sequence"; None guesses, and says so.
        space: a ready-made space, or path/to/file.py:function; zennas by default for method zen.
        space_arguments: further arguments of the space.
        width: factor on the space's channels; None takes one at which about half of the space meets the limits.
        method: how the supernet is trained and searched: "spos" (one path at a time, evolution), "fairnas" (strict
            fairness, NSGA-II for a front of accuracy, MACs and parameters, of which the most accurate is the winner)
            "one-shot" (path dropout, random search over as many architectures as the others evaluate), or "darts",
            "gdas" or "proxyless" (architecture parameters beside the weights; the most probable legal one wins), or
            "zen" (no supernet: evolution by a score without training).
        max_macs, max_params: hard limits on the network found.
        max_layers: a hard limit on its convolutions and linear layers, those of shortcuts and branches too.
        max_latency_ms: a hard limit on latency, or several: then there is one winner for each, and what the run
            directory itself holds is of the first.
        device: where that limit holds, and where the winner is measured; see `onepath devices`.
        device_threads: that one inference may use there; None takes the table's, or torch's own number.
        latency_table: file of a latency table or predictor that screens the candidates; None profiles a table first.
        sampler: paths of the training: "uniform" over the space, "constrained" to the limit, or "widening", which
            opens sizes from the largest down; None is widening where the space has sizes, else uniform. Of spos.
        reduction: of the gradients of what the paths of one update share, such as the stem: "sum" or "mean". Of
            fairnas.
        rate: probability, at the end of the training, that path dropout drops all candidates of a block, in [0, 1].
            Of one-shot.
        num_ghost_batches: parts of each batch with paths of their own. Of one-shot.
        prefilter: "nwot:0.2" evaluates only the 20 % of each generation's proposals that score highest by a score
            without training, one of `onepath.estimate.SCORES`; of spos, fairnas and one-shot.
        order: of the logits' gradient: "first", "second" (after a virtual step of the weights, by finite differences)
            or "exact" (the same with exact second derivatives). Of darts.
        gates: what the logits learn from: "full" (every candidate), "two-path" (two drawn ones) or "reinforce" (rewards
            of sampled paths). Of proxyless.
        guard: "stop" stops the logits, and takes them back to an earlier epoch, where they collapse to skip
            connections: at more of these than `max_skips`, and in darts at a rise of the dominant eigenvalue of the
            validation Hessian; "watch" notes that eigenvalue alone, in darts; "off" does neither. Of darts, gdas and
            proxyless.
        max_skips: skip connections in the derived architecture that the guard lets pass; None takes half of its
            choices.
        skip_dropout: probability, falling to 0, with which an update of the weights leaves a skip connection out. Of
            darts.
        warmup_epochs: epochs in which weights alone are trained; None takes a third of them for proxyless, else none.
            Of darts, gdas and proxyless.
        num_seeds: searches, with the seeds from `seed` on, of which the one goes on whose derived architecture has the
            highest inherited validation accuracy. Of darts, gdas and proxyless.
        rule: what the derivation compares between edges: softmax "weights", of which a large one of `none` demotes its
            edge, or raw "logits". Of darts, gdas and proxyless.
        cost_loss: joins the loss of the logits with the expected cost: "add-linear", "multiply-log", "reward" for gates
            "reinforce", or "none". The cost is in milliseconds under a limit on latency, else in MACs, and aims at the
            limit; None joins it for proxyless under such a limit. Of darts, gdas and proxyless.
        proxy: the score searched by, one of `onepath.estimate.SCORES`. Of zen.
        epochs, batch_size, learning_rate: of the supernet's training; epochs of fairnas cost as many passes as a
            block has candidates, and are fewer by default.
        retrain_epochs: of each stand-alone training.
        retrain_from: "scratch", "inherited" or "both": where the winner's weights begin.
        num_baselines: random architectures under the same limit, trained with the same budget.
        workers: networks retrained at the same time, each in a process of its own, or scored by zen; None takes one per
            usable core on a CPU (zen at most 8), and 1 elsewhere or, but for zen, where the data are given in Python.
        population, generations: of the search, which evaluates population * (generations + 1) architectures; None
            takes SPOS's 50 and 20, or 16 and 5 for less than 10,000 training examples.
        calibration_images: training images that recompute a candidate's normalisation.
        validation_images: validation images that score a candidate; None takes all.
        seed: of everything drawn.
        train_on: "cpu" or "cuda".
        precision: "bfloat16" runs forward passes under autocast.
        compile: compile the candidate blocks.
        normalisation: "inside" lets `model.onnx` and `model.pt2` take raw values, as the data had them;
            "outside" normalised ones.
        out: the run directory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: types.Text = "digits"
    test_data: types.Text | None = None
    data_root: types.Text | None = None
    input_size: types.Pixels | None = None
    fit: Literal["crop", "pad"] = "crop"
    channels: Literal["first", "last"] | None = None
    kind: Literal["images", "sequence"] | None = None
    space: types.Text = "shufflenet"
    space_arguments: types.SpaceArguments = Field(default_factory=dict)
    width: types.Width | None = None
    method: Literal["spos", "fairnas", "one-shot", "darts", "gdas", "proxyless", "zen"] = "spos"
    max_macs: Count | None = None
    max_params: Count | None = None
    max_layers: types.Layers | None = None
    max_latency_ms: Latencies | None = None
    device: types.Text | None = None
    device_threads: types.Threads | None = None
    latency_table: types.Text | None = None
    sampler: Literal["uniform", "constrained", "widening"] | None = None
    reduction: Literal["sum", "mean"] | None = None
    rate: types.Share | None = None
    num_ghost_batches: types.Parts | None = None
    prefilter: Annotated[types.Text, AfterValidator(check_prefilter)] | None = None
    order: Literal["first", "second", "exact"] | None = None
    gates: Literal["full", "two-path", "reinforce"] | None = None
    guard: Literal["off", "watch", "stop"] | None = None
    max_skips: types.Choices | None = None
    skip_dropout: types.ShareBelowOne | None = None
    warmup_epochs: types.WarmupEpochs | None = None
    num_seeds: types.Searches | None = None
    rule: Literal["weights", "logits"] | None = None
    cost_loss: Literal["none", "add-linear", "multiply-log", "reward"] | None = None
    proxy: types.Text | None = None
    epochs: types.Epochs | None = None
    batch_size: types.BatchSize | None = None
    learning_rate: types.Rate | None = None
    retrain_epochs: types.Epochs | None = None
    retrain_from: Literal["scratch", "inherited", "both"] = "scratch"
    num_baselines: types.Trainings = 3
    workers: types.Processes | None = None
    population: types.Population | None = None
    generations: types.Generations | None = None
    calibration_images: types.Images = 2000
    validation_images: types.Images | None = None
    seed: types.Seed = 0
    train_on: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: StrictBool = False
    normalisation: Literal["inside", "outside"] = "inside"
    out: types.Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_space_of_method(cls, options: Any) -> Any:
        if not isinstance(options, dict) or options.get("method", "spos") not in METHODS:
            return options
        return {"space": METHODS[options.get("method", "spos")].space, **options}

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        for name in sorted({name for method in METHODS.values() for name in method.options}):
            if getattr(self, name) is not None and name not in METHODS[self.method].options:
                takers = " or ".join(key for key, method in METHODS.items() if name in method.options)
                raise ValueError(
                    f"{name} is an option of method {takers}, but method is {self.method}; leave {name} out, or give "
                    f"method {takers}"
                )
        check_relaxed_options(self)
        if METHODS[self.method].sampler is None:
            if self.retrain_from != "scratch":
                raise ValueError(
                    f"retrain_from: method {self.method} has no supernet to inherit from, but got "
                    f"{self.retrain_from}; leave it out"
                )
            if self.epochs is not None:
                raise ValueError(
                    f"epochs are those of a supernet, and method {self.method} trains none, but got {self.epochs}; "
                    "give retrain_epochs"
                )
        planned = (self.population or 2) * ((self.generations or 0) + 1)
        if planned > most.EVALUATED:
            raise ValueError(
                f"population * (generations + 1) must be at most {most.EVALUATED:,}, but got {planned:,}; lower "
                "one of them"
            )
        limits = self.max_latency_ms
        if limits is not None and self.device is None and self.latency_table is None:
            raise ValueError(
                "max_latency_ms is a limit on a device, but none came; give device, one of `onepath devices`"
            )
        if limits is not None and len(set(limits)) < len(limits):
            raise ValueError(
                f"max_latency_ms must be distinct limits, but got {_show(limits)}; give each once"
            )
        if limits is None and self.latency_table is not None:
            raise ValueError(
                "latency_table is for a limit on latency, but none came; give max_latency_ms, or leave it out"
            )
        if self.device_threads is not None and self.device is None and self.latency_table is None:
            raise ValueError("device_threads are those of a device, but none came; give device")
        if self.sampler == "constrained" and (self.max_macs, self.max_params, limits) == (None, None, None):
            raise ValueError(
                "sampler: 'constrained' needs a limit, but none came; give max_macs, max_params or max_latency_ms"
            )
        return self

    @property
    def limit_ms(self) -> float | None:
        """The limit on latency that this run directory itself is of: the first."""
        return None if self.max_latency_ms is None else self.max_latency_ms[0]

    def directory(self) -> Path:
        """The run directory: `out`, or `runs/<data>-<space>-<method>`."""
        if self.out is not None:
            return Path(self.out).expanduser()
        return Path("runs") / f"{_label(self.data)}-{_label(self.space)}-{self.method}"


def make_config(options: Mapping[str, Any]) -> RunConfig:
    """Check options; paths of files become absolute, so that a run can be continued from any directory.

    Args:
        options: option name -> value; what is left out takes its default.

    Raises:
        ConfigurationError: an option does not exist, is out of its range, or does not fit the others.
    """
    try:
        config = RunConfig(**options)
    except ValidationError as error:
        raise ConfigurationError(_one_line(error)) from error
    names = ["data_root", "space", "latency_table"]
    # With a root, a bare word names a torchvision dataset even beside a folder called so, as `load_data` has it.
    names += [
        name for name in ("data", "test_data") if config.data_root is None or _is_path(getattr(config, name))
    ]
    return config.model_copy(update={name: absolute(getattr(config, name)) for name in names})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, as "option: old -> new"; where the run is kept does not count."""
    names = [
        name for name in {**old, **new} if name != "out" and not _is_same(name, old.get(name), new.get(name))
    ]
    return [f"{name}: {_show(old.get(name))} -> {_show(new.get(name))}" for name in names]


def unknown_option(name: str) -> str:
    """The message for an option that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name[:80].replace("-", "_"), RunConfig.model_fields, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(RunConfig.model_fields)}"
    text = name if re.fullmatch(r"[\w-]{1,80}", name) else shown(name)
    return f"an option must exist, but {text} does not; {advice}"


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return unknown_option(name)
    text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ").replace("should", "must")
    text = text.replace("\n", " ").replace("Unable to parse input string as", "must be no longer than")
    if not name:
        return text
    if isinstance(first["input"], Mapping | list | tuple | set):
        return f"{name} {text}; change it"  # what it holds may be nested without end
    return f"{name} {text}, but got {shown(first['input'])}; change it"


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
    if value in ("digits", "shufflenet", "zennas") and not separator:
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


def _show(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(f"{part:g}" for part in value)
    return "none" if value is None else str(value)
