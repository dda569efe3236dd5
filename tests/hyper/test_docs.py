"""The page on hypernetworks says what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

import onepath as op

PAGE = Path(__file__).parents[2] / "docs" / "hypernetworks.md"


def test_the_code_of_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(blocks[0], str(PAGE), "exec"), names)
    assert isinstance(names["supernet"].weights, op.HyperNetwork)
    assert all(
        type(part).__module__.startswith(("torch.nn", "onepath.spaces")) for part in names["model"].modules()
    )
    assert isinstance(names["model"], nn.Module)
    exec(compile(blocks[1], str(PAGE), "exec"), names)
    assert names["supernet"].weights.settings()["hypernetwork"] == "ghn"
