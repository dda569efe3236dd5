"""Options as fields: each option is declared once, with its type, default, help text and place in the help.

The command line, the configuration file and the Python signatures are made from these fields. Every number has a
largest allowed value, and every text a largest length.
"""

from __future__ import annotations

import difflib
import keyword
import math
import operator
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from onepath import most
from onepath.errors import shown

RESERVED = ("num_classes", "input_size", "in_channels", "width", "seed", "name")
"""Arguments of a space that `space_arguments` must not hold, because they are given otherwise."""


_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_MOST_DIGITS = 100
_COUNT = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([a-zA-Z]?)")
_WHOLE = "must be a whole number such as 30M, 1.5M, 250k, 2G or 2_000_000"


GROUPS = ("Data", "Space", "Limits", "Training", "Search", "Differentiable", "Finishing", "Run")
"""The headings of the options in the help, in order."""


def option(
    default: Any, help: str, *, group: str = "Training", metavar: str = "", python_only: bool = False
) -> Any:
    """Declare an option as a pydantic field.

    Args:
        default: value if the user gives none; None stands for a default that depends on the data, the space or the
            limits.
        help: a whole phrase that stands alone; it is shown by `--help` and in the docstrings of Python functions.
        group: heading under which `--help` shows the option, one of `GROUPS`.
        metavar: placeholder that `--help` shows for the value; if empty, it is derived from the type.
        python_only: whether the values of the option cannot be written on a command line.
    """
    extra: Any = {"group": group, "metavar": metavar, "python_only": python_only}
    return Field(default, description=help, json_schema_extra=extra)


def parse_count(value: object) -> object:
    """Return the whole number that a text such as 30M, 1.5M, 250k, 2G or 2_000_000 stands for.

    A value that is not a text is returned unchanged.

    Raises:
        ValueError: the text does not have this form, or the number is not whole.
    """
    if not isinstance(value, str):
        return value
    match = _COUNT.fullmatch(value.strip()) if len(value) <= _MOST_DIGITS else None
    suffix = match[2].lower().replace("m", "M").replace("g", "G") if match else "?"
    if match is None or suffix not in _FACTORS:
        raise ValueError(_WHOLE)
    number = Decimal(match[1].replace("_", "")) * _FACTORS[suffix]
    if number != int(number):
        raise ValueError(_WHOLE)
    return int(number)


def parse_percentages(text: str) -> tuple[float, ...]:
    """Return the percentages of a text such as 60% or 60%,40%, each as a number above 0 and at most 100.

    Raises:
        ValueError: a part of the text is not a percentage, or not above 0 and at most 100.
    """
    parts = [
        re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*%\s*", part) for part in text[:_MOST_DIGITS].split(",")
    ]
    found = tuple(float(part[1]) for part in parts if part is not None)
    if len(found) < len(parts) or not all(0 < share <= 100 for share in found):
        raise ValueError("must be percentages above 0 and at most 100, such as 60%")
    return found


_BYTES = {
    **{"": 1, "B": 1},
    **{unit: 1000 ** (power + 1) for power, unit in enumerate(("KB", "MB", "GB"))},
    **{unit: 1024 ** (power + 1) for power, unit in enumerate(("KIB", "MIB", "GIB"))},
}


def parse_bytes(value: object) -> object:
    """Return the number of bytes that a text such as 256KiB, 1MB or 2_000_000 stands for.

    A value that is not a text is returned unchanged.

    Raises:
        ValueError: the text does not have this form, or the number of bytes is not whole.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)\s*([a-zA-Z]*)", value.strip()[:_MOST_DIGITS])
    factor = _BYTES.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise ValueError("must be a number of bytes such as 256KiB, 1MB or 2_000_000")
    number = Decimal(match[1].replace("_", "")) * factor
    if number != int(number):
        raise ValueError("must be a whole number of bytes")
    return int(number)


def parse_duration(value: object) -> object:
    """Return the seconds that a text such as 90s, 45m, 1.5h or 600 stands for.

    A value that is not a text is returned unchanged.

    Raises:
        ValueError: the text does not have this form.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", value.strip()[:_MOST_DIGITS])
    if match is None:
        raise ValueError("must be a time such as 90s, 45m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def plain(value: object) -> float | None:
    """Return a finite number as a Python number; None for anything else, such as a truth value, NaN or a text."""
    if type(value).__name__ in ("bool", "bool_"):
        return None
    if not isinstance(value, int | float) and hasattr(value, "__index__"):
        value = operator.index(value)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def several(value: object) -> object:
    """Return one value or several values as a tuple.

    A text is split at its commas, a list becomes a tuple, and None stays None. Any other value becomes a tuple of that
    one value, which pydantic checks later.
    """
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return value if value is None else (value,)


def one_line(error: ValidationError, names: Iterable[str]) -> str:
    """Return the first mistake in the options of a model as a one-line message for the user.

    Args:
        error: the error that pydantic raised.
        names: names of the options that exist.
    """
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return unknown_option(name, names)
    text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ").replace("should", "must")
    text = text.replace("\n", " ").replace("Unable to parse input string as", "must be no longer than")
    if not name:
        return text
    if isinstance(first["input"], Mapping | list | tuple | set):
        return f"{name} {text}; change it"  # the value may be nested without end, so it is not shown
    given = first["input"]
    is_number = isinstance(given, str) and re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", given) is not None
    return f"{name} {text}, but got {given if is_number else shown(given)}; change it"


def unknown_option(name: str, names: Iterable[str]) -> str:
    """Return the message for an option that does not exist, with the name of the most similar option."""
    names = list(names)
    near = difflib.get_close_matches(name[:80].replace("-", "_"), names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    text = name if re.fullmatch(r"[\w-]{1,80}", name) else shown(name)
    return f"an option must exist, but {text} does not; {advice}"


def parse_milliseconds(value: object) -> object:
    """Return one or several latencies in milliseconds as a tuple; a text is split at its commas, see `several`.

    Raises:
        ValueError: the text holds something other than numbers.
    """
    try:
        return tuple(float(part) for part in value.split(",")) if isinstance(value, str) else several(value)
    except ValueError:
        raise ValueError("must be milliseconds, or several with commas such as 1,2,4") from None


def _no_truth_value(value: object) -> object:
    """Return a whole number of numpy as a Python int; other values are returned unchanged and checked by pydantic.

    Raises:
        ValueError: the value is true or false, which Python would take for 1 or 0.
    """
    if type(value).__name__ in ("bool", "bool_"):
        raise ValueError("must be a number")
    if not isinstance(value, int | float | str) and hasattr(value, "__index__"):
        return operator.index(value)  # a whole number of numpy
    return value


def check_text(value: str) -> str:
    """Return a text unchanged if it is valid.

    Raises:
        ValueError: the text is empty, has more than 4,096 characters, holds a NUL or cannot be written as UTF-8.
    """
    if not value.strip():
        raise ValueError("must not be empty")
    if len(value) > most.CHARACTERS:
        raise ValueError(f"must have at most {most.CHARACTERS:,} characters")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("must be UTF-8 text without NUL")
    return value


def check_space_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the further arguments of a space if they are valid.

    Raises:
        ValueError: there are more than 100 arguments, a name is not a Python identifier or is set by an option of its
            own, or a value is not plain: texts, numbers, lists and mappings of limited size and depth.
    """
    if len(arguments) > most.ARGUMENTS:
        raise ValueError(f"must be at most {most.ARGUMENTS}")
    for name, value in arguments.items():
        if name in RESERVED:
            raise ValueError(f"must not hold {name}, which has an option of its own")
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            raise ValueError(f"must have names that Python allows for arguments, but {shown(name)} is none")
        _check_plain(name, value)
    return dict(arguments)


def _check_plain(name: str, value: object) -> None:
    """Raise ValueError unless a value is one that JSON can hold, of limited size.

    The check does not recurse, because the value may be nested deeply.
    """
    level, num = [value], 0
    for _ in range(most.DEPTH):
        num += len(level)
        if num > most.VALUES:
            raise ValueError(f"must hold at most {most.VALUES:,} values in {name}")
        for item in level:
            if isinstance(item, str):
                if item:
                    check_text(item)
            elif isinstance(item, int) and abs(item) > most.COUNT:
                raise ValueError(f"must hold numbers of at most {most.COUNT:.0e} in {name}")
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"must hold finite numbers in {name}")
            elif not (item is None or isinstance(item, int | float | list | tuple | dict)):
                raise ValueError(
                    f"must be texts, numbers, lists and mappings, but {name} holds a {type(item).__name__} "
                    f"({shown(item)}); quote what is to be a text"
                )
        lists = [item for item in level if isinstance(item, list | tuple)]
        mappings = [item for item in level if isinstance(item, dict)]
        level = [item for nested in lists for item in nested]
        level += [item for nested in mappings for pair in nested.items() for item in pair]
        if not level:
            return
    raise ValueError(f"must be nested at most {most.DEPTH} deep in {name}")


Text = Annotated[str, AfterValidator(check_text)]
Number = BeforeValidator(_no_truth_value)
SpaceArguments = Annotated[dict[str, Any], AfterValidator(check_space_arguments)]
Epochs = Annotated[int, Number, Field(ge=1, le=most.EPOCHS)]
EpochsOrPart = Annotated[
    int | Annotated[float, Field(allow_inf_nan=False)], Number, Field(ge=1, le=most.EPOCHS)
]
WarmupEpochs = Annotated[int, Number, Field(ge=0, le=most.EPOCHS)]
BatchSize = Annotated[int, Number, Field(ge=1, le=most.BATCH)]
Pixels = Annotated[int, Number, Field(ge=1, le=most.PIXELS)]
Parts = Annotated[int, Number, Field(ge=1, le=most.PARTS)]
Population = Annotated[int, Number, Field(ge=2, le=most.POPULATION)]
Generations = Annotated[int, Number, Field(ge=0, le=most.GENERATIONS)]
Trainings = Annotated[int, Number, Field(ge=0, le=most.TRAININGS)]
Finalists = Annotated[int, Number, Field(ge=1, le=most.FINALISTS)]
Searches = Annotated[int, Number, Field(ge=1, le=most.TRAININGS)]
Images = Annotated[int, Number, Field(ge=1, le=most.IMAGES)]
Processes = Annotated[int, Number, Field(ge=1, le=most.PROCESSES)]
Threads = Annotated[int, Number, Field(ge=1, le=most.THREADS)]
Layers = Annotated[int, Number, Field(ge=1, le=most.CHOICES)]
Choices = Annotated[int, Number, Field(ge=0, le=most.CHOICES)]
Seed = Annotated[int, Number, Field(ge=0, le=most.SEED)]
Rate = Annotated[float, Number, Field(gt=0, le=most.RATE, allow_inf_nan=False)]
Width = Annotated[float, Number, Field(gt=0, le=most.WIDTH, allow_inf_nan=False)]
Share = Annotated[float, Number, Field(ge=0, le=1, allow_inf_nan=False)]
ShareBelowOne = Annotated[float, Number, Field(ge=0, lt=1, allow_inf_nan=False)]
Milliseconds = Annotated[float, Number, Field(gt=0, le=most.MILLISECONDS, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(parse_count), Number, Field(ge=1, le=most.COUNT)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(several), Field(min_length=1, max_length=most.LIMITS)]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Number, Field(ge=1, le=most.COUNT)]
Sizes = Annotated[tuple[Bytes, ...], BeforeValidator(several), Field(min_length=1, max_length=most.LIMITS)]
LayerCounts = Annotated[
    tuple[Layers, ...], BeforeValidator(several), Field(min_length=1, max_length=most.LIMITS)
]
Latencies = Annotated[
    tuple[Milliseconds, ...], BeforeValidator(parse_milliseconds), Field(min_length=1, max_length=most.LIMITS)
]
Duration = Annotated[
    float, BeforeValidator(parse_duration), Number, Field(ge=60, le=most.SECONDS, allow_inf_nan=False)
]
Evaluated = Annotated[int, Number, Field(ge=1, le=most.EVALUATED)]
Pairs = Annotated[int, Number, Field(ge=0, le=most.NETWORKS)]
DataKind = Literal["images", "sequence", "classification", "regression", "multi-label", "segmentation"]
