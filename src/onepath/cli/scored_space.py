"""The common part of `onepath score` and `onepath rank --proxy`: a space whose untrained networks are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from onepath.cost import Constraint
    from onepath.studies.untrained import UntrainedSpace

BatchSize = Annotated[
    int,
    typer.Option(min=1, max=most.BATCH, help="Examples in the batch that the scores read."),
]


def open_scored_space(
    space: str,
    *,
    data: str | None,
    data_root: str | None,
    num_classes: int | None,
    input_size: int | None,
    in_channels: int,
    width: float | None,
    space_argument: list[str] | None,
    **scoring: Any,
) -> UntrainedSpace:
    """Load the data and build the space for them; without data, build it with the given sizes or those of its paper.

    Args:
        space: name of the space, or path/to/file.py:function.
        data: data that the batch comes from; None allows only scores that read nothing but a shape.
        data_root: folder of torchvision's downloads.
        num_classes: number of classes; None takes the data's, without data the paper's.
        input_size: height and width of the input; None takes the data's, without data the paper's.
        in_channels: channels of the input; used only without data.
        width: factor on the channels; None takes the space's default.
        space_argument: further arguments of the space as "name=value" texts.
        scoring: batch size, seed and device, see `UntrainedSpace`.

    Raises:
        ConfigurationError, DataError: an argument does not fit the space, or the data cannot be read.
    """
    from onepath import spaces
    from onepath.cli.catalogue import network_sizes
    from onepath.data import load_data
    from onepath.runs import check_reads, check_takes
    from onepath.studies.untrained import UntrainedSpace

    task = None if data is None else load_data(data, root=data_root, input_size=input_size)
    if task is not None:
        check_takes(task.input_shape, task.reads_words, space)
        num_classes = num_classes or task.num_classes
        channels, *pixels = task.input_shape
        in_channels, input_size = (channels, min(pixels)) if pixels else (in_channels, channels)
    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    supernet = spaces.build(space, **sizes, **o.space_arguments(space_argument))
    if task is not None:
        check_reads(supernet, task.reads_words, space)
        return UntrainedSpace(supernet, tuple(task.input_shape), task, **scoring)
    shape = spaces.example_shape(supernet, sizes["input_size"], sizes["in_channels"])
    return UntrainedSpace(supernet, tuple(shape), **scoring)


def score_names(text: str) -> list[str]:
    """Return the names of the scores in a text such as "zen,gradsign".

    Raises:
        ConfigurationError: a score does not exist; the message names the most similar one.
    """
    from onepath.estimate import score_definition

    return [score_definition(name.strip()).name for name in text.split(",")]


def page_path(out: str | None, space: str, ending: str) -> Path:
    """Return the path of the page: `out`, or a name made from the space and `ending`.

    Raises:
        ConfigurationError: the path does not end in .html, or its directory does not exist.
    """
    page = Path(out or f"{''.join(c if c.isalnum() else '-' for c in Path(space).name)}-{ending}.html")
    if page.suffix != ".html" or not page.parent.is_dir():
        raise ConfigurationError(
            f"--out must be an .html in an existing directory, but got {page}; change it"
        )
    return page


def count_limits(max_macs: str | None, max_params: str | None) -> Sequence[Constraint]:
    """Return the limits that texts such as "30M" and "1M" stand for; None gives no limit.

    Raises:
        ConfigurationError: a text is not a count, or out of range.
    """
    from onepath import cost

    found = ((cost.MaxMacs, _count(max_macs)), (cost.MaxParams, _count(max_params)))
    return [kind(maximum) for kind, maximum in found if maximum is not None]


def _count(text: str | None) -> int | None:
    from onepath.runs import parse_count

    try:
        number = parse_count(text)
    except ValueError as error:
        raise ConfigurationError(f"a limit {error}, but got {shown(text)}; change it") from error
    assert number is None or isinstance(number, int)
    if number is not None and not 1 <= number <= most.COUNT:
        raise ConfigurationError(
            f"a limit must be from 1 to {most.COUNT:.0e}, but got {shown(text)}; change it"
        )
    return number
