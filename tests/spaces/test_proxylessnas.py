"""ProxylessNAS's space."""

from __future__ import annotations

import numpy as np
import torch

import onepath as op
from onepath.nn import Supernet
from onepath.spaces.proxylessnas import ProxylessNas


def test_space_of_the_paper() -> None:
    with torch.device("meta"):
        supernet = Supernet(ProxylessNas(1000))
    nums = [choice.num_options for choice in supernet.space.choices]
    assert nums == [6, 7, 7, 7] * 5 + [6]
    assert supernet.space.size == 6**6 * 7**15
    widest = supernet.space.architecture([5] * 21)  # kernel 7 and expansion 6 everywhere
    none = supernet.space.architecture([5 if num == 6 else 6 for num in nums])
    assert op.cost.params(supernet, none) < op.cost.params(supernet, widest)
    assert (
        len([m for m in supernet.extract(none).stages.modules() if type(m).__name__ == "InvertedBottleneck"])
        == 6
    )


def test_extracted_networks_compute_the_same() -> None:
    supernet = op.spaces.build("proxylessnas", 10, 16, width=0.2).eval()
    x = torch.randn(2, 3, 16, 16)
    for architecture in supernet.space.architectures(supernet.space.sample(2, np.random.default_rng(0))):
        with torch.no_grad():
            assert torch.allclose(supernet.extract(architecture)(x), supernet(x, architecture), atol=1e-5)
