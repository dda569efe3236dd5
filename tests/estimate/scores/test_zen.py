"""Zen-score: closed forms, the identity with the network without normalisation, residual links."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from estimate.scores.small_networks import blocks, chain
from torch import nn

from onepath.errors import ConfigurationError
from onepath.estimate import score, scores

SHAPE = (16, 3, 16, 16)
IMAGES = torch.zeros(SHAPE)


def gaussian(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight)
    return model


@pytest.mark.parametrize("layer", [0, 3, 6])
def test_scaling_one_convolution_by_c_shifts_by_log_c(layer: int) -> None:
    model = gaussian(chain([16, 16, 16]))
    before = score("zen", model, IMAGES, draws_weights=False)
    with torch.no_grad():
        model[layer].weight.mul_(3.0)
    assert score("zen", model, IMAGES, draws_weights=False) - before == pytest.approx(math.log(3.0), abs=2e-6)


def test_scaling_shifts_the_released_score_by_less() -> None:
    """Running variances keep 81 % of their initial 1, so that small variances hardly count."""
    model, shallow = chain([16] * 6), chain([16] * 2)
    lost = [score("zen", m, IMAGES) - score("zen_released", m, IMAGES) for m in (model, shallow)]
    # At most -log sqrt(0.19) = 0.830 for each of the six layers.
    assert 0.7 * 6 < lost[0] < 0.831 * 6
    assert 0.7 * 2 < lost[1] < 0.831 * 2


def test_the_released_score_drifts_with_repeats_and_ours_does_not() -> None:
    model = chain([16] * 6)
    drift = [
        score("zen_released", model, IMAGES, repeats=n) - score("zen", model, IMAGES, repeats=n)
        for n in (1, 16)
    ]
    assert drift[1] - drift[0] > 1.0


@pytest.mark.parametrize("depth", [4, 16])
def test_equals_the_network_without_normalisation(depth: int) -> None:
    model = chain([16] * depth)
    bare = chain([16] * depth)
    for place, module in enumerate(bare):
        if isinstance(module, nn.BatchNorm2d):
            bare[place] = nn.Identity()
    assert score("zen", model, IMAGES, repeats=4) == pytest.approx(
        score("zen", bare, IMAGES, repeats=4), abs=0.3
    )


def test_width_and_depth_raise_it() -> None:
    widths = [score("zen", chain([width] * 8), IMAGES) for width in (16, 32, 64)]
    # Each of 8 layers gains log sqrt(2), but the first, which has 3 inputs at every width; the features double.
    assert [b - a for a, b in itertools.pairwise(widths)] == pytest.approx([7 * 0.3466] * 2, abs=1.2)
    depths = [score("zen", chain([16] * depth), IMAGES) for depth in (2, 4, 8)]
    assert depths == sorted(depths)


def test_alpha_shifts_by_its_logarithm() -> None:
    model = chain([16] * 8)
    small, middle, large = (score("zen", model, IMAGES, alpha=alpha) for alpha in (1e-3, 1e-2, 1e-1))
    assert middle - small == pytest.approx(math.log(10), abs=0.15)
    assert large - middle == pytest.approx(math.log(10), abs=0.15)


def test_stable_over_seeds() -> None:
    values = torch.tensor([score("zen", chain([16] * 8), IMAGES, seed=seed) for seed in range(8)])
    assert 0 < float(values.std()) < 0.5


def test_norms_differ_by_the_size_of_the_features() -> None:
    model = chain([16] * 8)
    gap = score("zen", model, IMAGES, norm="l1") - score("zen", model, IMAGES, norm="l2")
    num = 16 * 16 * 16
    assert 0.5 * math.log(num) - 1.0 < gap < 0.5 * math.log(num)  # |d|_1 <= sqrt(num) |d|_2


def test_averages_over_repeats() -> None:
    model = chain([8, 8])
    assert score("zen", model, IMAGES, repeats=3) != score("zen", model, IMAGES, repeats=1)


@pytest.mark.parametrize("link", ["identity", "in place", "projection", "gate"])
def test_residual_links_and_gates_are_left_out(link: str) -> None:
    plain, linked = blocks("none", "none"), blocks(link, link)
    value = score("zen", plain, IMAGES, draws_weights=False)
    assert score("zen", linked, IMAGES, draws_weights=False) == value
    assert score("zen", linked, IMAGES, draws_weights=False, keeps_links=True) != value


def test_normalisations_that_lead_nowhere_do_not_count() -> None:
    """The projection's normalisation runs, but its result is left out with the link."""
    plain, linked = blocks("none"), blocks("projection")
    with torch.no_grad():
        linked[1].projection.weight.mul_(100.0)
    assert score("zen", linked, IMAGES, draws_weights=False) == score(
        "zen", plain, IMAGES, draws_weights=False
    )


def test_features_are_those_before_the_global_pooling() -> None:
    model = chain([8, 8])
    before = score("zen", model, IMAGES, draws_weights=False)
    with torch.no_grad():
        model[-1].weight.mul_(50.0)
    assert score("zen", model, IMAGES, draws_weights=False) == before


def test_overflow_has_a_reason() -> None:
    model = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)], nn.AdaptiveAvgPool2d(1))
    with torch.no_grad():
        model[0].weight.fill_(1e30)
        model[1].weight.fill_(1e30)
    found = scores(["zen"], model, IMAGES, options={"zen": {"draws_weights": False}})["zen"]
    assert found.value == -math.inf
    assert "overflow" in str(found.reason)


@pytest.mark.parametrize("options", [{"norm": "l3"}, {"alpha": 0.0}, {"repeats": 0}])
def test_options_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="must hold"):
        score("zen", chain([8]), IMAGES, **options)
