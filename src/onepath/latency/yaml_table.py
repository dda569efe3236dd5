"""The published latency tables of ProxylessNAS and Once-for-All: one mean in ms for each kind of layer.

Source: Cai et al., "ProxylessNAS" (arXiv 1812.00332) and "Once-for-All" (arXiv 1908.09791), released tables. Their keys
agree but for `expand`, which is the expansion ratio in the first and the number of middle channels in the second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from onepath.errors import ConfigurationError, DataError, shown
from onepath.latency.checked_files import Cost, Count, Node, check_nodes, read_text
from onepath.latency.device_errors import one_line
from onepath.latency.keys import find_entry, shape_text
from onepath.latency.table import Entry
from onepath.plain_yaml import read_yaml

Expand = Literal["ratio", "channels"]

_BLOCK = re.compile(r"input:\d+x\d+x(?P<channels>\d+)-.*-expand:(?P<expand>\d+)")
_NUMBER = re.compile(r"[+-]?\d{1,30}[eE][+-]?\d{1,3}", re.ASCII)
_LARGEST_RATIO = 12
_LONGEST_KEY = 1000
_MOST_BYTES = 8 * 2**20  # YAML is read at about a megabyte in four seconds
_WHAT = "a latency table"


@dataclass(frozen=True)
class PublishedTable:
    """A published latency table, with an entry for each kind of layer at its shapes.

    Attributes:
        entries: key -> entry in ms.
        expand: meaning of `expand` in the keys: "ratio" of middle to input channels, or number of "channels" in the
            middle.
        name: name of the table, for messages.
    """

    entries: Mapping[str, Entry]
    expand: Expand
    name: str

    @classmethod
    def load(cls, path: Path | str, expand: Expand | None = None) -> PublishedTable:
        """Read a YAML file of {key: {mean, count, var or std}}; only plain data is read.

        Args:
            path: path of the file.
            expand: meaning of `expand` in the keys; None finds it out from the keys: ratios are at most 12, and numbers
                of channels are no smaller than the number of input channels.

        Raises:
            RunDirectoryError: the file is absent.
            DataError: the file is not a latency table.
            ConfigurationError: the keys leave open what `expand` means.
        """
        text = read_text(path, _WHAT, _MOST_BYTES)
        try:
            data = read_yaml(text)
            if not isinstance(data, dict) or not data:
                raise ValueError(f"it must be a mapping of keys, but got {shown(data)}")
            entries = {one_line(key): _entry(str(key), value) for key, value in data.items()}
        except ValueError as error:
            raise DataError(
                f"{path} must be a latency table in YAML, one {{mean, count, var}} for each key, but it is not "
                f"({one_line(error)}); fix the file"
            ) from error
        return cls(entries, expand or _told_expand(entries, path), Path(path).name)

    def layer(
        self, kind: str, input_shape: Sequence[int], output_shape: Sequence[int] | None = None
    ) -> Entry:
        """Return the entry of a layer that has no settings besides its shapes.

        Args:
            kind: "Conv", "Conv_1", "Conv_2", "AvgPool2D" or "Logits".
            input_shape: shape of one example, (C, H, W).
            output_shape: shape of one output, (C, H, W) or (classes,); None if the keys of this kind have none.

        Raises:
            ConfigurationError: the table has no such entry; the message names the nearest keys.
        """
        output = "" if output_shape is None else f"-output:{shape_text(output_shape)}"
        return find_entry(self.entries, f"{kind}-input:{shape_text(input_shape)}{output}")

    def block(
        self,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        *,
        middle_channels: int,
        kernel_size: int,
        stride: int,
        has_skip: bool,
        has_se: bool | None = None,
        has_hard_swish: bool | None = None,
    ) -> Entry:
        """Return the entry of a mobile inverted bottleneck, whichever way the table counts its expansion.

        Args:
            input_shape: shape of one example, (C, H, W).
            output_shape: shape of one output, (C, H, W).
            middle_channels: number of channels between the two pointwise convolutions.
            kernel_size: kernel size of the depthwise convolution.
            stride: stride of the depthwise convolution.
            has_skip: whether the input is added to the output.
            has_se: whether the block has squeeze and excitation; None if the table's keys do not say.
            has_hard_swish: whether the block uses hard swish; None if the table's keys do not say.

        Raises:
            ConfigurationError: the table has no such entry, or it counts ratios and `middle_channels` is not a multiple
                of the input channels.
        """
        expand = middle_channels
        if self.expand == "ratio":
            expand, rest = divmod(middle_channels, input_shape[0])
            if rest:
                raise ConfigurationError(
                    f"the middle channels must be a multiple of the input's in {self.name}, whose `expand` is a ratio, "
                    f"but got {middle_channels} for {input_shape[0]}; take a multiple, or a table of channels"
                )
        flags = {"idskip": has_skip, "se": has_se, "hs": has_hard_swish}
        settings = {"expand": expand, "kernel": kernel_size, "stride": stride} | {
            name: int(flag) for name, flag in flags.items() if flag is not None
        }
        shapes = f"input:{shape_text(input_shape)}-output:{shape_text(output_shape)}"
        key = "-".join(["expanded_conv", shapes, *(f"{name}:{value}" for name, value in settings.items())])
        return find_entry(self.entries, key)


def _number(value: Any) -> Any:
    """Return a float for text such as 1e-05, which YAML takes for text because it has no point."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


_Cost = Annotated[Cost, BeforeValidator(_number)]


class _Published(Node):
    """One entry of a published file."""

    mean: _Cost
    std: _Cost | None = None
    var: _Cost = 0.0
    count: Count = 1


def _entry(key: str, value: Any) -> Entry:
    """Return an entry; a missing spread is 0 and a missing count is 1.

    Raises:
        ValueError: the key is too long, or the value is not an entry; the message names what is wrong.
    """
    if len(key) > _LONGEST_KEY:
        raise ValueError(f"a key must have at most {_LONGEST_KEY} characters, but got {shown(key)}")
    try:
        node = check_nodes(_Published, value)
    except ValueError as error:
        raise ValueError(f"{one_line(key)}: {error}") from None
    return Entry(float(node.mean), math.sqrt(node.var) if node.std is None else float(node.std), node.count)


def _told_expand(entries: Mapping[str, Entry], path: Path | str) -> Expand:
    found = [match for match in map(_BLOCK.search, entries) if match is not None]
    sizes = [(int(match["channels"]), int(match["expand"])) for match in found]
    if sizes and all(expand <= _LARGEST_RATIO for _, expand in sizes):
        return "ratio"
    if sizes and all(expand >= channels for channels, expand in sizes):
        return "channels"
    raise ConfigurationError(
        f"the keys must tell whether `expand` is a ratio or a number of channels, but those of {path} do not; give "
        'expand="ratio" or expand="channels"'
    )
