"""The options that commands share; an option that is not given is None and takes its default from `RunConfig`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from onepath import most
from onepath.errors import ConfigurationError, shown
from onepath.own_code import is_own, unnamed_code
from onepath.plain_yaml import read_yaml, shown_line

_DATA, _SPACE, _LIMITS, _TRAINING, _SEARCH = "Data", "Space", "Limits", "Training", "Search"
_MOST_BYTES = 1 << 16


def _check_width(value: float | None) -> float | None:
    # Not by the range of an option, which not-a-number passes.
    if value is not None and not 0 < value <= most.WIDTH:
        raise ConfigurationError(
            f"width must be greater than 0 and at most {most.WIDTH:g}, but got {value}; change it"
        )
    return value


def _check_seconds(value: float) -> float:
    if not 1 <= value <= most.SECONDS:
        raise ConfigurationError(
            f"--max-seconds must be from 1 to {most.SECONDS:,.0f}, but got {value}; change it"
        )
    return value


Data = Annotated[
    str | None,
    typer.Option(
        help="Labelled data: digits (default), a torchvision dataset, a folder of class folders, .npz or .parquet.",
        rich_help_panel=_DATA,
    ),
]
DataRoot = Annotated[
    str | None, typer.Option(help="Folder where torchvision keeps its downloads.", rich_help_panel=_DATA)
]
Width = Annotated[
    float | None,
    typer.Option(
        callback=_check_width,
        help="Factor on the channels, at most 100; default: fitted to the limits if there are any, else the space's.",
        rich_help_panel=_SPACE,
    ),
]
SpaceArgument = Annotated[
    list[str] | None,
    typer.Option(
        help="Further argument of the space as name=value; may be repeated.", rich_help_panel=_SPACE
    ),
]
MaxMacs = Annotated[
    str | None,
    typer.Option(
        metavar="N", help="Largest number of multiply-accumulates, such as 30M.", rich_help_panel=_LIMITS
    ),
]
MaxParams = Annotated[
    str | None,
    typer.Option(metavar="N", help="Largest number of parameters, such as 1M.", rich_help_panel=_LIMITS),
]
MaxLatencyMs = Annotated[
    str | None,
    typer.Option(
        metavar="MS[,MS...]",
        help="Largest latency on the device in ms; with several, one winner for each.",
        rich_help_panel=_LIMITS,
    ),
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=most.SEED, help="Seed of every random draw; default: 0.")
]
Config = Annotated[
    str | None, typer.Option(metavar="FILE", help="A YAML file of options; the command line overrides it.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete an old run in --out and start over.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
SpaceName = Annotated[
    str, typer.Argument(metavar="SPACE", help="A space of `onepath spaces`, or path/to/file.py:function.")
]
NumClasses = Annotated[
    int | None,
    typer.Option(min=1, max=most.CLASSES, help="Number of classes; default: as in the space's paper."),
]
CostInputSize = Annotated[
    int | None,
    typer.Option(
        min=1, max=most.PIXELS, help="Height and width of the input; default: as in the space's paper."
    ),
]
InChannels = Annotated[int, typer.Option(min=1, max=most.CHANNELS, help="Channels of the input.")]
LatencyDevice = Annotated[str, typer.Option(help="Device to measure on, one of `onepath devices`.")]
CostDevice = Annotated[
    str | None, typer.Option(help="Device to measure latency on, one of `onepath devices`.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, max=most.THREADS, help="Threads that one inference may use; default: torch's own number."
    ),
]
Batch = Annotated[int, typer.Option(min=1, max=most.BATCH, help="Examples in one inference.")]
Seconds = Annotated[
    float,
    typer.Option(
        callback=_check_seconds, help="Largest number of seconds of timing over all calls, from 1 to a week."
    ),
]
LatencyPrecision = Annotated[
    str, typer.Option("--precision", help="Precision of the device: float32, bfloat16, ...")
]
OwnSpace = Annotated[
    str | None,
    typer.Option(
        "--space",
        "--model",
        help="The run's space or model again, if it is your own code; a run directory must not choose code.",
    ),
]
OwnDevice = Annotated[
    str | None,
    typer.Option(
        "--device", help="The run's device again, if it is your own exec:command or path/to/file.py:Class."
    ),
]
OwnMethod = Annotated[
    str | None,
    typer.Option("--method", help="The run's method again, if it is your own path/to/file.py:Class."),
]
Directory = Annotated[str | None, typer.Argument(metavar="DIR", help="The run directory.")]
RunOut = Annotated[str | None, typer.Option("--out", help="The run directory, if it is not given as DIR.")]


def run_directory(stage: str, directory: str | None, out: str | None) -> str:
    """Return the run directory of a stage, which is given as an argument or by --out.

    Args:
        stage: name of the command, for the message.
        directory: the argument.
        out: value of --out.

    Raises:
        ConfigurationError: not exactly one of them is given.
    """
    if (directory is None) == (out is None):
        came = "neither" if out is None else "both"
        raise ConfigurationError(
            f"{stage} needs one run directory, DIR or --out DIR, but got {came}; give the one you want"
        )
    return str(directory if out is None else out)


def check_cost(architecture: str | None, compare: int | None, device: str | None) -> None:
    """Raise unless the options of `onepath cost` fit each other.

    Raises:
        ConfigurationError: not exactly one of `architecture` and `compare` is given, or `compare` has no device.
    """
    if (architecture is None) == (compare is None):
        given = "neither" if architecture is None else "both"
        raise ConfigurationError(
            f"one of --architecture and --compare must be given, but got {given}; give the one you want"
        )
    if compare is not None and device is None:
        raise ConfigurationError(
            "--compare needs a --device to measure on, but got none; `onepath devices` lists them"
        )


def merged(given: Mapping[str, Any], config: str | None) -> dict[str, Any]:
    """Return the options of a YAML file, overridden by those of the command line.

    Args:
        given: option name -> value; None if it was not given. `space_argument` holds "name=value" texts.
        config: path of a YAML file whose keys are option names, with dashes or underscores; or None.

    Raises:
        ConfigurationError: the file cannot be read, is not a mapping, or names code of the user's own that the command
            line does not name.
    """
    options = {} if config is None else _read(Path(config))
    _confirm_code(options, given, config or "")
    options.update({name: value for name, value in given.items() if value is not None})
    arguments = options.pop("space_argument", None)
    if arguments:
        stored = options.get("space_arguments") or {}
        if not isinstance(stored, dict):
            raise ConfigurationError(f"space_arguments must be a mapping, but got {shown(stored)}; change it")
        options["space_arguments"] = {**stored, **pairs(arguments)}
    return options


def space_arguments(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return the further arguments of a space from "name=value" texts, checked: name -> value.

    This is for commands without a `RunConfig`, which would check them.

    Raises:
        ConfigurationError: a text has another form, or a value is not plain.
    """
    from onepath.option_types import check_space_arguments

    try:
        return check_space_arguments(pairs(texts or ()))
    except ValueError as error:
        raise ConfigurationError(f"--space-argument {error}; change it") from error


def _read(path: Path) -> dict[str, Any]:
    where = shown(str(path), 200)
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = os.read(descriptor, _MOST_BYTES + 1) if is_regular else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        said = os.strerror(error.errno or 0).lower()
        raise ConfigurationError(
            f"--config must be a readable file, but {where} is not: {said}; check the path"
        ) from error
    if not is_regular:
        raise ConfigurationError(f"--config must be a regular file, but {where} is none; give a file")
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(
            f"--config must have at most {_MOST_BYTES:,} bytes, but {where} has more; fix the file"
        )
    try:
        options = read_yaml(content.decode("utf-8"))
    except ValueError as error:
        raise ConfigurationError(
            f"--config must be YAML, but {where} is not: {shown_line(error)}; fix the file"
        ) from error
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ConfigurationError(
            f"--config must hold `option: value` lines, but {where} holds a {type(options).__name__}; "
            "fix the file"
        )
    found = {str(name).replace("-", "_"): value for name, value in options.items()}
    if len(found) < len(options):
        raise ConfigurationError(
            f"--config must name each option once, but {where} has one both with - and with _; fix the file"
        )
    return found


def _confirm_code(options: Mapping[str, Any], given: Mapping[str, Any], path: str) -> None:
    """Raise unless code of the user's own is named on the command line; a file may only repeat it.

    Raises:
        ConfigurationError: only the file names code of the user's own.
    """
    for name in ("space", "device", "method"):
        if is_own(options.get(name)) and given.get(name) is None:
            raise unnamed_code(Path(path), name, options[name])


def pairs(texts: Sequence[str], flag: str = "--space-argument") -> dict[str, Any]:
    """Return name -> value of "name=value" texts; each value is read as YAML.

    Args:
        texts: the texts.
        flag: option that the texts were given to, for messages.

    Raises:
        ConfigurationError: a text has another form, a value is not YAML, or two texts have the same name.
    """
    pairs: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"{flag} must be name=value, but got {shown(text)}; write it so")
        if name in pairs:
            raise ConfigurationError(
                f"{flag} must name each argument once, but got {shown(name)} twice; leave one out"
            )
        try:
            pairs[name] = read_yaml(value)
        except ValueError as error:
            raise ConfigurationError(
                f"{flag} must be name=value with a value of YAML, but got {shown(text)}: "
                f"{shown_line(error)}; quote a text"
            ) from error
    return pairs
