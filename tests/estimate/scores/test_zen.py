"""Zen-score: closed forms, the identity with the network without normalisation, residual links."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from estimate.scores.small_networks import blocks, chain
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.estimate import score, scores
from onepath.estimate.scores.tracing import NotBatchFirstError, Trace

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


def without_normalisation(model: nn.Module) -> nn.Module:
    for name, module in list(model.named_children()):
        if isinstance(module, nn.BatchNorm2d):
            setattr(model, name, nn.Identity())
    return model


@pytest.mark.parametrize(("width", "depth"), [(32, 4), (64, 16)])
def test_equals_the_network_without_normalisation(width: int, depth: int) -> None:
    """Over 12 draws, as the bare network's score varies by 0.2 to 0.3 from draw to draw, and ours by 0.03.

    The bare one's mean logarithm is lower than its logarithm's mean by that deviation's square, and ours is not: 0.04
    for 64 channels, 0.1 for 16 channels in 16 layers.
    """
    images = torch.zeros(4, 3, 8, 8)
    model = chain([width] * depth)
    value = score("zen", model, images, repeats=12)
    assert value == pytest.approx(score("zen", without_normalisation(model), images, repeats=12), abs=0.2)


def test_normalisation_keeps_what_overflows_without_it() -> None:
    model, images = chain([64] * 40), torch.zeros(4, 3, 4, 4)
    assert 40 * 2.0 < score("zen", model, images) < 40 * 0.5 * math.log(64 * 9 / 2) + 10
    found = scores(["zen"], without_normalisation(model), images)["zen"]
    assert "overflow" in str(found.reason)


@pytest.mark.parametrize(("norm", "features"), [("l2", 0.5), ("l1", 1.0)])
def test_twice_the_width(norm: str, features: float) -> None:
    """Each of 7 layers but the first gains log sqrt(2), and the features, of which there are twice as many, by norm."""
    images = torch.zeros(4, 3, 16, 16)
    values = [score("zen", chain([width] * 7), images, norm=norm, repeats=4) for width in (16, 32, 64)]
    expected = (6 * 0.5 + features) * math.log(2)  # 2.43 for the paper's norm
    assert [b - a for a, b in itertools.pairwise(values)] == pytest.approx([expected] * 2, abs=0.1)


def test_each_layer_adds_the_logarithm_of_its_gain() -> None:
    """`1/2 log(9 * 16 / 2)` for 16 channels, half of them on, less what zeros at the border take."""
    values = [score("zen", chain([16] * depth), IMAGES) for depth in (2, 4, 8, 16)]
    gains = [(b - a) / num for (a, b), num in zip(itertools.pairwise(values), (2, 4, 8), strict=True)]
    assert gains == pytest.approx([0.5 * math.log(9 * 16 / 2) - 0.04] * 3, abs=0.1)


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


@pytest.mark.parametrize("zeros", [torch.zeros_like, lambda x: x * 0, lambda x: x.mul(0.0)])
def test_a_missing_edge_leads_nowhere(zeros: Callable[[Tensor], Tensor]) -> None:
    """Zeros in the shape of a feature map do not count its normalisation, nor its layers."""

    class Edges(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = blocks("none")[1], blocks("none", "none")[1:3]

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.used(x)
            return y + zeros(self.unused(x))

    stem, _, head = blocks("none")
    plain, edges = nn.Sequential(stem, Edges().used, head), nn.Sequential(stem, Edges(), head)
    value = score("zen", plain, IMAGES, draws_weights=False)
    assert score("zen", edges, IMAGES, draws_weights=False) == pytest.approx(value, rel=1e-6)


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


def test_two_batches_in_one_pass_are_two_passes() -> None:
    """Each is normalised by its own statistics, of which those of the first are told."""
    network = gaussian(chain([8, 8, 16])).eval()
    first = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    second = 5.0 * first.flip(3) + 1.0
    trace, alone = Trace(network, num_batches=2), []
    joint, variances = trace.run(torch.cat([first, second])), trace.variances()
    trace.close()
    single = Trace(network)
    for x in (second, first):
        alone.insert(0, single.run(x))
    torch.testing.assert_close(joint, torch.cat(alone))
    for (layer, found, num), (own_layer, own, own_num) in zip(variances, single.variances(), strict=True):
        torch.testing.assert_close(found, own)
        assert (layer, num) == (own_layer, own_num)


class Tail(nn.Module):
    """A convolution, and something behind it that does not keep the examples first."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.convolution, self.norm = kind, nn.Conv2d(3, 8, 3), nn.BatchNorm1d(8)
        self.scales = nn.Parameter(torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0)))
        self.of_scales = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x)
        if self.kind == "fixed size":
            return y.view(16, -1)
        if self.kind == "channels first":
            return y.transpose(0, 1)
        if self.kind == "scales":
            return y * self.of_scales(self.scales)
        return self.norm(y.permute(2, 3, 0, 1).reshape(-1, 8))


@pytest.mark.parametrize("kind", ["fixed size", "channels first", "places first", "scales"])
def test_a_network_that_mixes_batches_takes_two_passes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = Tail(kind), torch.zeros(16, 3, 8, 8)
    found = score("zen", model, images)

    def run_alone(trace: Trace, inputs: Tensor) -> Tensor:
        if trace._num_batches > 1:
            raise NotBatchFirstError
        return run(trace, inputs)

    run = Trace.run
    monkeypatch.setattr(Trace, "run", run_alone)
    assert found == score("zen", model, images)
    assert math.isfinite(found)
