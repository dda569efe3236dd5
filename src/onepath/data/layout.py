"""Finding out whether an array holds images or sequences, and whether channels are first or last."""

from __future__ import annotations

from typing import Literal, NamedTuple

from onepath.data.scale import Values
from onepath.errors import DataError, shown

Kind = Literal["images", "sequence"]
Axis = Literal["first", "last"]

MAX_GUESSED_CHANNELS = 16
_USUAL = (1, 3, 4)
_MOST_OBLONG = 2  # largest length over width of an array that is taken for an image without further evidence
_MOST_OBLONG_PIXELS = 8  # the same, if the values are in a range of pixels and no side is too short
_SHORTEST_SIDE = 16


class Layout(NamedTuple):
    """The meaning of the axes of an array.

    Attributes:
        kind: whether the array holds images or sequences.
        channels: where the axis of the channels is; None: there is no such axis, and each example has one channel.
        note: a sentence on what was guessed; None if nothing was guessed.
    """

    kind: Kind
    channels: Axis | None
    note: str | None = None


def find_layout(
    shape: tuple[int, ...], values: Values, channels: Axis | None, kind: Kind | None, where: str
) -> Layout:
    """Find the meaning of an array's axes from its shape, its values, and the user's options.

    Arrays of four axes are images. Two equal axes of an image are height and width. If that does not decide, an axis of
    length 1, 3 or 4 is the channels; if that does not decide, the shorter one of the first and the last axis of an
    image; and if nothing decides, the last axis.

    Arrays of three axes are grey images in three cases: they hold bytes or truth values; an image is square, or its
    longer side is at most twice the shorter one, which is at least 8; or the values are in a range of pixels, see
    `Values.unit`, and the longer side is at most 8 times the shorter one, which is at least 16. All other arrays of
    three axes are sequences, and so are those whose `channels` are given. The shorter axis of a sequence is the
    channels. `kind` and `channels` overrule these guesses.

    Arrays of two axes are accepted only with `kind` "sequence": each example is a sequence of one channel.

    Args:
        shape: shape of the array, with the number of examples first.
        values: range and type of the array's values.
        channels: where the axis of the channels is; None: guess.
        kind: what the array holds; None: guess.
        where: name of the source, for messages.

    Raises:
        DataError: the array has another number of axes or an axis of length 0, or nothing says where the channels are.
    """
    axes = shape[1:]
    expected = (2, 3) if kind == "sequence" else (3, 4)
    if len(shape) not in expected or 0 in axes:
        if kind == "sequence":
            rule, advice = "sequences must have shape (N, C, T), (N, T, C) or (N, T)", "reshape them"
        else:
            rule = "images must have shape (N, H, W), (N, H, W, C) or (N, C, H, W), and sequences (N, C, T)"
            advice = "reshape them" + (", or give kind='sequence' for (N, T)" if len(shape) == 2 else "")
        raise DataError(f"{rule}, but {where} has shape {shown(shape)}; {advice}")
    if len(shape) == 4:
        return _images(axes, channels, where)
    if len(shape) == 2:
        return Layout("sequence", None)
    return _three_axes((axes[0], axes[1]), values, channels, kind)


def _images(axes: tuple[int, ...], channels: Axis | None, where: str) -> Layout:
    if channels is not None:
        return Layout("images", channels)
    first, last = _evidence(axes[0], axes[1:]), _evidence(axes[2], axes[:2])
    if first == last == (False, False) and min(axes[0], axes[2]) > MAX_GUESSED_CHANNELS:
        raise DataError(
            f"channels must be the first or the last axis of an image, but {where} has shape (N, "
            f"{', '.join(map(str, axes))}), which does not tell; give channels='first' or channels='last'"
        )
    is_first = first > last or (first == last == (False, False) and axes[0] < axes[2])
    axis: Axis = "first" if is_first else "last"
    chosen, other = (first, last) if is_first else (last, first)
    if chosen[1] and (not other[1] or (chosen[0] and not other[0])):
        return Layout("images", axis)
    (num, *size) = axes if is_first else (axes[2], *axes[:2])
    return Layout(
        "images",
        axis,
        f"Images of shape {axes} are read with the channels {axis}: {num} channels of {size[1]}x{size[0]} pixels "
        f"(width x height), a guess; channels={_other(axis)!r} reads them otherwise.",
    )


def _evidence(num_channels: int, size: tuple[int, ...]) -> tuple[bool, bool]:
    """Return whether height and width are equal, and whether the number of channels is a usual one."""
    return size[0] == size[1], num_channels in _USUAL


def _three_axes(axes: tuple[int, int], values: Values, channels: Axis | None, kind: Kind | None) -> Layout:
    if kind == "images":
        return Layout("images", None)
    note = None
    if kind is None:
        are_images, is_certain = _are_images(axes, values)
        if are_images and channels is None:
            note = (
                f"Arrays of shape {axes} are read as grey images of {axes[1]}x{axes[0]} pixels (width x height), a "
                f"guess; kind='sequence' reads them as sequences."
            )
            return Layout("images", None, None if is_certain else note)
        if are_images:
            note = (
                f"Arrays of shape {axes} are read as sequences, since channels={channels!r} is given; kind='images' "
                f"reads them as grey images."
            )
    axis: Axis = channels or ("first" if axes[0] <= axes[1] else "last")
    num, length = axes if axis == "first" else axes[::-1]
    if channels is None:
        guess = f"channels={_other(axis)!r}" + ("" if kind else " or kind='images'")
        note = (
            f"Arrays of shape {axes} are read as sequences with the channels {axis}: {num} channels of {length} steps, "
            f"a guess; {guess} reads them otherwise."
        )
    return Layout("sequence", axis, note)


def _are_images(axes: tuple[int, int], values: Values) -> tuple[bool, bool]:
    """Return whether examples of two axes are grey images, and whether that is certain."""
    short, long = sorted(axes)
    if values.kind in ("uint8", "bool"):
        return True, long <= _MOST_OBLONG_PIXELS * short
    has_pixels = values.unit is not None
    if short == long:
        return True, has_pixels
    if long <= _MOST_OBLONG * short and short >= _SHORTEST_SIDE // 2:
        return True, False
    return has_pixels and short >= _SHORTEST_SIDE and long <= _MOST_OBLONG_PIXELS * short, False


def _other(axis: Axis) -> Axis:
    return "last" if axis == "first" else "first"
