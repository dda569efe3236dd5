"""Drawing of an architecture as rows of labelled boxes, made from only the names and options of its choices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onepath.report.formats import shortened

# Hues in degrees that colour-blind readers can tell apart; colour is never the only label.
_HUES = (212, 28, 158, 282, 342, 52, 190, 110)
_GOLDEN_ANGLE = 137.508
_SHOWN_OPTIONS = 12
_LEGEND_LENGTH = 40

# (all options of a choice, one of these options) -> hue and strength.
_Colours = dict[tuple[tuple[str, ...], str], tuple[int, float]]


@dataclass(frozen=True)
class Box:
    """One choice of the architecture.

    Attributes:
        label: short name of the choice: the part after the last dot; inside another choice's box, the part after that
            choice's name.
        name: whole name of the choice.
        option: chosen option as text; "not used" if the choice is inactive.
        is_active: whether the choice has an effect in this architecture.
        hue: hue of the option, in degrees.
        strength: strength of the colour, 0 to 1: the rank of a number among the choice's options, 1 for options that
            are not numbers.
        parts: boxes of the choices inside this block, drawn in its box.
    """

    label: str
    name: str
    option: str
    is_active: bool
    hue: int
    strength: float
    parts: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of boxes: the choices whose names are equal up to the last dot."""

    label: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class LegendEntry:
    """An option in a legend: its text, its colour, and how often the architecture chooses it."""

    option: str
    hue: int
    strength: float
    count: int


@dataclass(frozen=True)
class Legend:
    """The legend of all choices that have the same options; `num_hidden` counts the options left out."""

    title: str
    entries: tuple[LegendEntry, ...]
    num_hidden: int


@dataclass(frozen=True)
class Drawing:
    """The drawing of an architecture: rows from the input to the output, and legends of the colours."""

    rows: tuple[Row, ...]
    legends: tuple[Legend, ...]


def draw(choices: Sequence[Mapping[str, Any]], active: Mapping[str, Any]) -> Drawing | None:
    """Lay an architecture out as rows of boxes.

    A choice is drawn inside the box of another choice if its name begins with the other's name and a dot. All other
    choices with the same name up to the last dot are one row. Rows are in the order of the space.

    Args:
        choices: all choices of the space, each {"name": str, "options": [...]}.
        active: name of each choice that has an effect -> chosen option.

    Returns:
        The drawing; None if there are no choices.
    """
    if not choices:
        return None
    kinds: dict[tuple[str, ...], list[str]] = {}
    for choice in choices:
        kinds.setdefault(_texts(choice), []).append(str(choice["name"]))
    colours = _colours([choice["options"] for choice in choices])
    names = [str(choice["name"]) for choice in choices]
    owners = {name: _owner(name, set(names)) for name in names}
    boxes: dict[str, Box] = {}
    # From the last to the first level, so that a box is made after its parts.
    for choice in sorted(choices, key=lambda choice: -str(choice["name"]).count(".")):
        name = str(choice["name"])
        parts = tuple(boxes[other] for other in names if owners[other] == name)
        boxes[name] = _box(choice, owners[name], active, colours, parts)
    rows: dict[str, list[Box]] = {}
    for name in names:
        if owners[name] is None:
            rows.setdefault(name.rpartition(".")[0], []).append(boxes[name])
    return Drawing(
        tuple(Row(prefix or "network", tuple(members)) for prefix, members in rows.items()),
        tuple(_legend(texts, members, boxes, colours) for texts, members in kinds.items()),
    )


def option_hues(choices: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return option, as text -> hue in degrees, the same hue that `draw` gives the option.

    Args:
        choices: all choices of the space, each {"name": str, "options": [...]}.
    """
    colours = _colours([choice["options"] for choice in choices])
    return {text: hue for (_, text), (hue, _) in colours.items()}


def _owner(name: str, names: Collection[str]) -> str | None:
    """Return the nearest choice that the choice `name` is inside of; None if there is none."""
    while name := name.rpartition(".")[0]:
        if name in names:
            return name
    return None


def _box(
    choice: Mapping[str, Any],
    owner: str | None,
    active: Mapping[str, Any],
    colours: _Colours,
    parts: tuple[Box, ...],
) -> Box:
    name = str(choice["name"])
    label = name.rpartition(".")[2] if owner is None else name[len(owner) + 1 :]
    if name not in active:
        return Box(label, name, "not used", False, 0, 0.0, parts)
    option = str(active[name])
    return Box(label, name, option, True, *colours.get((_texts(choice), option), (0, 0.0)), parts)


def _colours(all_options: Sequence[Sequence[Any]]) -> _Colours:
    """Return a colour for each option of each choice.

    If the options of a choice are numbers, they are shades of one hue, stronger for larger numbers. Each other option
    has its own hue, the same in every choice.
    """
    colours: _Colours = {}
    hues: dict[str, int] = {}
    for options in all_options:
        texts = tuple(map(str, options))
        if (texts, texts[0] if texts else "") in colours:
            continue
        if all(isinstance(option, int | float) and not isinstance(option, bool) for option in options):
            hue = _next_hue(hues, "\n".join(texts))
            order = sorted(range(len(options)), key=lambda index: options[index])
            for place, index in enumerate(order):
                colours[texts, texts[index]] = (hue, (place + 1) / len(order))
        else:
            for text in texts:
                colours[texts, text] = (_next_hue(hues, text), 1.0)
    return colours


def _next_hue(hues: dict[str, int], key: str) -> int:
    if key not in hues:
        num = len(hues)
        hues[key] = _HUES[num] if num < len(_HUES) else round(num * _GOLDEN_ANGLE) % 360
    return hues[key]


def _legend(
    texts: tuple[str, ...], members: Sequence[str], boxes: Mapping[str, Box], colours: _Colours
) -> Legend:
    used = [boxes[name].option for name in members if boxes[name].is_active]
    shown = [text for index, text in enumerate(texts) if index < _SHOWN_OPTIONS or text in used]
    entries = tuple(
        LegendEntry(shortened(text, _LEGEND_LENGTH), *colours[texts, text], used.count(text))
        for text in shown
    )
    return Legend(_title(members), entries, len(texts) - len(shown))


def _title(members: Sequence[str]) -> str:
    """Return the title for choices with the same options: their common last word, or the first name and a count."""
    if len(members) == 1:
        return members[0]
    words = {name.rpartition(".")[2] for name in members}
    word = words.pop()
    if not words and not word.isdigit():
        return f"{word} ({len(members)} choices)"
    return f"{members[0]} and {len(members) - 1} more"


def _texts(choice: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, choice["options"]))
