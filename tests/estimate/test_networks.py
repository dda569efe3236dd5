"""Networks of a table, each once."""

from __future__ import annotations

import numpy as np
import pytest

from onepath import spaces
from onepath.errors import ConfigurationError
from onepath.estimate import one_row_per_network


def test_equal_standalone_forms_are_one_network() -> None:
    space = spaces.build("nasbench-macro", 10, input_size=32, width=0.25).space
    texts = ("22101022", "22110022", "22011022", "22212220")
    found = one_row_per_network([space.parse(text) for text in texts], [80.0, 80.0, 81.0, 93.0])
    # Stages have 2, 3 and 3 blocks; identities move behind the others, but never the first block of a stage.
    names = [space.format(architecture) for architecture in found.architectures]
    assert names == ["22110022", "22011022", "22212220"]
    assert found.truth.tolist() == [80.0, 81.0, 93.0]


def test_equal_cells_are_one_network_and_disconnected_ones_are_left_out() -> None:
    space = spaces.build("nasbench201", 10, input_size=32, width=0.25, num_cells=1).space
    # Node 1 is the input itself, so that a convolution from either of them to node 2 is the same.
    texts = (
        "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
        "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|",
        "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|",
    )
    found = one_row_per_network([space.parse(text) for text in texts], [90.0, 92.0, 10.0, 95.0])
    assert (len(found), found.num_rows, found.num_disconnected) == (2, 4, 1)
    assert found.truth.tolist() == [91.0, 95.0]
    assert space.format(found.architectures[0]) == texts[0]


def test_fewer_are_the_first_of_more() -> None:
    space = spaces.build("nasbench-macro", 10, input_size=32, width=0.25).space
    found = one_row_per_network(list(space.enumerate())[:50], np.arange(50.0))
    many = found.draw(20, np.random.default_rng(0))
    few = found.draw(5, np.random.default_rng(0))
    assert few.architectures == many.architectures[:5]
    assert len(found.draw(1000, np.random.default_rng(0))) == len(found) < 50


def test_every_architecture_needs_a_truth() -> None:
    space = spaces.build("nasbench-macro", num_classes=10, width=0.25).space
    with pytest.raises(ConfigurationError, match="1 architectures and 2 values"):
        one_row_per_network([space.parse("22212220")], [1.0, 2.0])
