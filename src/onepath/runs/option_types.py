"""The types of a run's options: every number has a largest value, every text is one."""

from __future__ import annotations

import keyword
import math
import operator
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from onepath import most
from onepath.errors import shown

RESERVED = ("num_classes", "input_size", "in_channels", "width", "seed", "name")
"""What a space is built with by options of their own."""


def _no_truth_value(value: object) -> object:
    """A number as Python's own; what is none is left to pydantic.

    Raises:
        ValueError: true or false, which Python takes for 1 and 0.
    """
    if type(value).__name__ in ("bool", "bool_"):
        raise ValueError("must be a number")
    if not isinstance(value, int | float | str) and hasattr(value, "__index__"):
        return operator.index(value)  # of numpy
    return value


def check_text(value: str) -> str:
    """A text as it was given.

    Raises:
        ValueError: it is empty, too long or cannot be written as UTF-8.
    """
    if not value.strip():
        raise ValueError("must not be empty")
    if len(value) > most.CHARACTERS:
        raise ValueError(f"must have at most {most.CHARACTERS:,} characters")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("must be UTF-8 text without NUL")
    return value


def check_space_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Further arguments of a space as they were given.

    Raises:
        ValueError: a name is none of Python's or has an option of its own, or a value is not plain.
    """
    if len(arguments) > most.ARGUMENTS:
        raise ValueError(f"must be at most {most.ARGUMENTS}")
    for name, value in arguments.items():
        if name in RESERVED:
            raise ValueError(f"must not hold {name}, which every space is given otherwise")
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            raise ValueError(f"must be names of arguments, which {shown(name)} is not")
        _check_plain(name, value)
    return dict(arguments)


def _check_plain(name: str, value: object) -> None:
    """That a value is what JSON can hold, of bounded size; without recursion, for it may be nested deeply."""
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
WarmupEpochs = Annotated[int, Number, Field(ge=0, le=most.EPOCHS)]
BatchSize = Annotated[int, Number, Field(ge=1, le=most.BATCH)]
Pixels = Annotated[int, Number, Field(ge=1, le=most.PIXELS)]
Parts = Annotated[int, Number, Field(ge=1, le=most.PARTS)]
Population = Annotated[int, Number, Field(ge=2, le=most.POPULATION)]
Generations = Annotated[int, Number, Field(ge=0, le=most.GENERATIONS)]
Trainings = Annotated[int, Number, Field(ge=0, le=most.TRAININGS)]
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
