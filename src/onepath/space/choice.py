"""Choices, and sizes computed from choices."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, get_args

import numpy as np
import numpy.typing as npt

from onepath.errors import BindingError, SpaceError

Option = str | int | float | bool
Number = int | float

Role = Literal["operation", "size", "depth", "bits", "resolution"]
ROLES: tuple[Role, ...] = get_args(Role)

_NUM_SHOWN = 8  # names listed in a message

_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": lambda left, right: int(left // right),
}


class _Arithmetic:
    """The operators that build an Expression from choices, expressions and numbers."""

    def __add__(self, other: Operand) -> Expression:
        return _combine("+", self, other)

    def __radd__(self, other: Operand) -> Expression:
        return _combine("+", other, self)

    def __sub__(self, other: Operand) -> Expression:
        return _combine("-", self, other)

    def __rsub__(self, other: Operand) -> Expression:
        return _combine("-", other, self)

    def __mul__(self, other: Operand) -> Expression:
        return _combine("*", self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return _combine("*", other, self)

    def __floordiv__(self, other: Operand) -> Expression:
        return _combine("//", self, other)

    def __rfloordiv__(self, other: Operand) -> Expression:
        return _combine("//", other, self)

    def _refused(self, *_: object) -> NoReturn:
        """Reject an operation that needs a number now, because a choice is no number before an architecture is active.

        Raises:
            SpaceError: always.
        """
        raise SpaceError(
            f"{_describe(self)} has no value before an architecture is active, but one is needed here; give it to an "  # type: ignore[arg-type]
            "elastic layer or ElasticDepth, or write a ChoiceBlock with one module per option"
        )

    __index__ = __int__ = __float__ = __iter__ = __neg__ = __abs__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = _refused
    __mod__ = __rmod__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _refused

    @classmethod
    def __torch_function__(cls, _: object, __: object, arguments: Any = (), named: Any = None) -> NoReturn:
        """Reject a torch call with a choice among its arguments, such as a size; torch calls this method then.

        Raises:
            SpaceError: always.
        """
        left = [arguments, named]
        while left:
            item = left.pop()
            if isinstance(item, _Arithmetic):
                item._refused()
            if isinstance(item, tuple | list):
                left.extend(item)
            elif isinstance(item, dict):
                left.extend(item.values())
        raise SpaceError(
            "a choice must not be given to a function of torch; use an elastic layer or a ChoiceBlock"
        )


@dataclass(frozen=True, eq=False)
class Choice(_Arithmetic):
    """A named decision among a few options.

    Two choices are equal only if they are the same object: one `Choice` given to several layers is one shared
    choice, and two choices that look alike stay two. Numeric choices can be combined: `width * 0.5`, `width *
    ratio + 8`.

    Args:
        name: name of the choice; not empty, and unique inside a search space.
        options: at least one option; distinct (`1`, `1.0` and `True` are the same); strings, finite numbers or
            booleans. NumPy values become Python's own.
        role: what the choice decides: an "operation", or a "size", "depth", number of "bits" or "resolution". Only an
            operation may have strings as options; the options of the other roles have an order, so they are numbers or
            booleans. None: the modules that take the choice set its role: an elastic layer sets size, `ElasticDepth`
            sets depth, and a `ChoiceBlock` or `EdgeSum` sets operation if no other kind of module takes the choice.
            Until then the role is operation if any option is a string, and size otherwise. The role is not part of a
            space's fingerprint.

    Attributes:
        role: what the choice decides, as far as it is known.

    Raises:
        SpaceError: the name, the options or the role break one of these rules.

    Example:
        ``Choice("image", [160, 192, 224], role="resolution")``
    """

    name: str
    options: tuple[Option, ...]
    role: Role = field(repr=False)
    _is_said: bool = field(repr=False)

    def __init__(
        self, name: str, options: Sequence[Option] | npt.NDArray[Any], role: Role | None = None
    ) -> None:
        if not isinstance(name, str) or not name:
            raise SpaceError(f"a choice needs a name; got {name!r}; give a string that is not empty")
        if isinstance(options, np.ndarray):
            options = options.tolist()
        if isinstance(options, str) or not isinstance(options, Sequence):
            raise SpaceError(
                f"options of choice {name!r} must be a list; got {options!r}; write [option, ...]"
            )
        if not options:
            raise SpaceError(
                f"`len(options) >= 1` must hold for choice {name!r}; got none; give at least one"
            )
        options = [option.item() if isinstance(option, np.generic) else option for option in options]
        for option in options:
            if not isinstance(option, str | int | float | bool) or (
                isinstance(option, float) and not math.isfinite(option)
            ):
                raise SpaceError(
                    f"options of choice {name!r} must be strings, finite numbers or booleans; got"
                    f" {option!r}; name it by a string"
                )
        if len(set(options)) < len(options):
            raise SpaceError(
                f"options of choice {name!r} must be distinct; got {list(options)!r}; remove the repeated one"
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", tuple(options))
        if role not in (None, *ROLES):
            raise SpaceError(
                f"the role of choice {name!r} must be one of {', '.join(ROLES)}; got {role!r}; use one of them"
            )
        words = [option for option in options if isinstance(option, str)]
        if words and role not in (None, "operation"):
            raise SpaceError(
                f"the options of choice {name!r}, a {role}, must be numbers; got {words[0]!r}; leave out the role"
            )
        object.__setattr__(self, "role", role or ("operation" if words else "size"))
        object.__setattr__(self, "_is_said", role is not None)

    def take_role(self, role: Role) -> None:
        """Record what the choice decides; called by a module that takes the choice.

        The first role stays, whether the choice's own argument or a module has set it, because a depth may also enter a
        size. Only an "operation" set by a module gives way to a later role, because a size may also decide between
        modules, such as one normalisation per width.

        Args:
            role: what the module takes the choice for.

        Raises:
            BindingError: the choice's own argument says "operation", and the module needs options with an order.
        """
        if not self._is_said:
            object.__setattr__(self, "role", role)
            object.__setattr__(self, "_is_said", role != "operation")
        elif self.role == "operation" != role:
            raise BindingError(
                f"choice {self.name!r} has role 'operation' and must not be used as a {role}; give its role, or use "
                "separate choices"
            )

    @property
    def is_ordered(self) -> bool:
        """Whether the options have an order, so that one of them is the largest; operations have no order."""
        return self.role != "operation"

    @property
    def num_options(self) -> int:
        """Number of options."""
        return len(self.options)

    def index(self, option: Option) -> int:
        """Return the position of `option` in `options`.

        Raises:
            SpaceError: there is no such option; the message names the nearest one.
        """
        try:
            return self.options.index(option)
        except ValueError:
            raise SpaceError(
                f"choice {self.name!r} takes its options only; got {option!r};"
                f" {nearest(option, self.options)}"
            ) from None


@dataclass(frozen=True, eq=False)
class Expression(_Arithmetic):
    """A number computed from choices: a tree of choices, numbers, `+ - * //` and `round_to`.

    `//` rounds down to an int, also for floats, so that `width * 0.6 // 1` is a size.

    Build an expression with the operators of `Choice` and with `round_to`, not by hand.
    """

    function: str
    arguments: tuple[Operand, ...]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The distinct choices of the expression, in the order of their first appearance."""
        found: dict[Choice, None] = {}
        for argument in self.arguments:
            if isinstance(argument, Choice):
                found[argument] = None
            elif isinstance(argument, Expression):
                found.update(dict.fromkeys(argument.choices))
        return tuple(found)

    def value(self, options: Mapping[Choice, Option]) -> Number:
        """Return the number that the expression has under these options.

        Args:
            options: choice -> option, for every choice of the expression.

        Raises:
            SpaceError: a choice has no option or one that is not a number, or a divisor is 0.
        """
        numbers = [_number(argument, options) for argument in self.arguments]
        if self.function == "round_to":
            number, divisor, minimum = numbers
            return _round(number, int(divisor), int(minimum))
        if self.function == "//" and numbers[1] == 0:
            raise SpaceError(
                "the divisor of `//` must not be 0; got 0; change the options of the choice it comes from"
            )
        return _FUNCTIONS[self.function](*numbers)

    def values(self) -> tuple[Number, ...]:
        """Return all distinct values over the joint options of the expression's choices, in rising order."""
        choices = self.choices
        combinations = itertools.product(*(choice.options for choice in choices))
        return tuple(sorted({self.value(dict(zip(choices, chosen, strict=True))) for chosen in combinations}))

    def max(self) -> Number:
        """Return the largest value over the joint options of the expression's choices."""
        return self.values()[-1]


Operand = Number | Choice | Expression
Size = int | Choice | Expression


def round_to(x: Operand, divisor: int, minimum: int | None = None) -> Operand:
    """Round to the nearest multiple of `divisor`, but never below 0.9 of the value nor below `minimum`.

    Halves round up. `minimum` is `divisor` by default.

    Returns:
        An int for a number; an `Expression` for a choice or an expression.

    Raises:
        SpaceError: `divisor` is below 1, or `x` is a choice with an option that is not a number.
    """
    divisor, minimum = _plain(divisor), _plain(minimum)
    if divisor < 1:
        raise SpaceError(f"`divisor >= 1` must hold in round_to; got {divisor}; give a positive integer")
    least = divisor if minimum is None else minimum
    if isinstance(x, Choice | Expression):
        return Expression("round_to", (_numeric(x), divisor, least))
    return _round(_plain(x), divisor, least)


def plain_number(value: object) -> Number | None:
    """Return a Python or NumPy number as a Python number, or None for anything else; a bool is not a number.

    Sums of Python's integers stay exact however large they grow.
    """
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = float(value) if isinstance(value, np.floating) else value.item()
    return value if isinstance(value, int | float) else None


def size_value(size: Size, options: Mapping[Choice, Option]) -> int:
    """Return the value of a size under these options, an integer of 1 or more.

    Args:
        size: an int, a choice or an expression of choices.
        options: choice -> option, for every choice of the size.

    Raises:
        SpaceError: the value is not a positive integer, or a choice of the size has no option.
    """
    number = _number(size, options)
    if number != int(number) or number < 1:
        raise SpaceError(
            f"a size must be a positive integer; got {number} from {_describe(size)}; wrap it in"
            " round_to(...)"
        )
    return int(number)


def size_max(size: Size) -> int:
    """Return the largest value of a size over the joint options of its choices.

    Raises:
        SpaceError: a value is not a positive integer.
    """
    if isinstance(size, Choice):
        return max(size_value(size, {size: option}) for option in size.options)
    if isinstance(size, Expression):
        choices = size.choices
        combinations = itertools.product(*(choice.options for choice in choices))
        return max(size_value(size, dict(zip(choices, chosen, strict=True))) for chosen in combinations)
    return size_value(size, {})


def size_choices(size: Size) -> tuple[Choice, ...]:
    """Return the distinct choices that a size depends on; empty for an int."""
    if isinstance(size, Choice):
        return (size,)
    return size.choices if isinstance(size, Expression) else ()


def nearest(word: object, known: Sequence[object]) -> str:
    """Return advice about an unknown word: the closest known word, if one is close, and the first few known words."""
    spelled = {str(item).lower(): item for item in known}
    close = get_close_matches(str(word).lower(), list(spelled), n=1, cutoff=0.5)
    few = ", ".join(repr(item) for item in known[:_NUM_SHOWN]) + (", ..." if len(known) > _NUM_SHOWN else "")
    return f"did you mean {spelled[close[0]]!r}? There are {few}" if close else f"use one of {few}"


def _combine(function: str, left: object, right: object) -> Expression:
    return Expression(function, (_numeric(left), _numeric(right)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _numeric(operand: object) -> Operand:
    operand = _plain(operand)
    if isinstance(operand, Choice):
        for option in operand.options:
            if isinstance(option, bool | str):
                raise SpaceError(
                    f"only choices of numbers can be combined; choice {operand.name!r} has option"
                    f" {option!r}; use numbers"
                )
        return operand
    if isinstance(operand, bool) or not isinstance(operand, int | float | Expression):
        raise SpaceError(
            f"a size is combined from numbers and choices; got {operand!r}; use an int, a float or a Choice"
        )
    return operand


def _number(operand: Operand, options: Mapping[Choice, Option]) -> Number:
    if isinstance(operand, Expression):
        return operand.value(options)
    if not isinstance(operand, Choice):
        return operand
    if operand not in options:
        raise SpaceError(f"a value for choice {operand.name!r} is needed; got none; add it to the options")
    option = options[operand]
    if isinstance(option, bool | str):
        raise SpaceError(
            f"choice {operand.name!r} stands for a size; got option {option!r}; use numbers as options"
        )
    return option


def _round(number: Number, divisor: int, minimum: int) -> int:
    rounded = max(minimum, math.floor(number / divisor + 0.5) * divisor)
    return rounded + divisor if rounded < 0.9 * number else rounded


def _describe(size: Size) -> str:
    if isinstance(size, Expression):
        return f"an expression of {', '.join(repr(choice.name) for choice in size.choices)}"
    return f"choice {size.name!r}" if isinstance(size, Choice) else repr(size)
