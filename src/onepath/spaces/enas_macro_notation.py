"""The notation of ENAS's macro networks, and the names of the choices that represent it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onepath.errors import SpaceError
from onepath.space import Option

OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
"""The operations of a layer in the order of the released code's integers."""
SKIPS = ("none", "skip")


def edge_name(source: int, node: int) -> str:
    """Return the name of the choice from one node to a later one.

    Node 0 is the stem, and layer 0 makes node 1. An edge to the next node, such as "2->3", is the operation of a layer;
    any other edge, such as "0->3", is a skip connection.
    """
    return f"{source}->{node}"


class MacroNotation:
    """The notation `conv_3x3 | sep_conv_5x5+0 | ...`: one operation a layer, and the nodes of its skip connections.

    The integers of the released code, separated by spaces or commas, are the option indices and are read too: for each
    layer its operation, and then 0 or 1 for every node that it can skip from.

    Args:
        num_layers: number of layers.
    """

    def __init__(self, num_layers: int) -> None:
        self.num_layers = num_layers

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a text, or None for a text of another form.

        Raises:
            SpaceError: the text has another number of layers, or a skip connection from a node that is not earlier than
                the layer's input.
        """
        form = r"[a-z]\w*(\s*\+\s*\d+)*"
        if re.fullmatch(rf"\s*{form}(\s*\|\s*{form})*\s*", text) is None:
            return None
        layers = text.split("|")
        if len(layers) != self.num_layers:
            raise SpaceError(
                f"an architecture of this space has {self.num_layers} layers, but the text has {len(layers)}; "
                "build the space with another num_layers"
            )
        options: dict[str, Option] = {}
        for number, layer in enumerate(layers):
            operation, *sources = "".join(layer.split()).split("+")
            read = {int(source) for source in sources}
            if any(source >= number for source in read):
                raise SpaceError(
                    f"skip connections of layer {number} must come from nodes below {number}, but one comes from node "
                    f"{max(read)}; correct it"
                )
            options[edge_name(number, number + 1)] = operation
            for source in range(number):
                options[edge_name(source, number + 1)] = SKIPS[source in read]
        return options

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the text of these options (choice name -> option)."""
        layers = []
        for number in range(self.num_layers):
            skips = [
                f"+{source}" for source in range(number) if options[edge_name(source, number + 1)] == SKIPS[1]
            ]
            layers.append(str(options[edge_name(number, number + 1)]) + "".join(skips))
        return " | ".join(layers)
