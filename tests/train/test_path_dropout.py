from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from train.choice_networks import blocks_supernet

from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock, ElasticConv2d, Gate, GatedPath, GhostBatches, Supernet
from onepath.randomness import generator
from onepath.space import Choice, SearchSpace
from onepath.train import CandidateCounts, PathDropoutSampler, Recipe, train_supernet

SPACE = SearchSpace(
    [Choice("two", ["a", "b"]), Choice("six", list("abcdef")), Choice("width", [8, 16]), Choice("one", ["a"])]
)


def draw(sampler: PathDropoutSampler, update: int) -> GatedPath:
    (path,) = sampler.paths(update, generator(0, "paths", update))
    return path


def masks(sampler: PathDropoutSampler, name: str, updates: range) -> np.ndarray:
    """(updates, candidates): True where a candidate runs."""
    num = SPACE.choices[SPACE.column(name)].num_options
    found = np.zeros((len(updates), num), dtype=bool)
    for row, update in enumerate(updates):
        found[row, list(draw(sampler, update).gates[name].active)] = True
    return found


@pytest.mark.parametrize("rate", [1e-4, 0.1, 0.6])
@pytest.mark.parametrize(("name", "k"), [("two", 2), ("six", 6)])
def test_candidates_are_dropped_with_the_rate_to_the_power_of_one_over_their_number(
    rate: float, name: str, k: int
) -> None:
    """Two tests: of the number that are left, which is binomial where more than one is; and of each candidate."""
    num = 3000
    found = masks(PathDropoutSampler(SPACE, 1, rate=rate, end=0), name, range(num))
    left = found.sum(axis=1)
    assert left.min() >= 1
    probability = rate ** (1 / k)
    expected = stats.binom.pmf(np.arange(k + 1), k, 1 - probability)
    expected[1] += expected[0]  # where all were dropped, one stays
    expected = num * expected[1:]
    observed = np.bincount(left, minlength=k + 1)[1:]
    merged = expected > 5
    assert merged.any()
    assert abs(observed - expected)[merged] == pytest.approx(0, abs=4 * np.sqrt(num * 0.25))
    dropped = 1 - found.mean(axis=0)
    left_out = probability - rate / k
    assert dropped == pytest.approx(left_out, abs=4 * np.sqrt(left_out * (1 - left_out) / num))


def test_at_low_rates_the_frequency_is_the_papers() -> None:
    """Where dropping all is rare, keeping one changes the frequency by less than its error: 3 sigma of r ** (1 / k)."""
    num, rate = 4000, 1e-3
    found = masks(PathDropoutSampler(SPACE, 1, rate=rate, end=0), "six", range(num))
    probability = rate ** (1 / 6)
    assert 1 - found.mean() == pytest.approx(
        probability, abs=3 * np.sqrt(probability * (1 - probability) / found.size)
    )


def test_the_schedule_rises_from_nothing_to_the_final_probability() -> None:
    sampler = PathDropoutSampler(SPACE, 1000, rate=0.25, begin=0.2, end=0.6)
    assert [sampler.drop_probability(2, update) for update in (0, 199, 200, 400, 600, 999)] == pytest.approx(
        [0, 0, 0, 0.25, 0.5, 0.5]
    )
    assert masks(sampler, "six", range(200)).all()
    late = masks(sampler, "six", range(600, 1000))
    assert 0.6 < 1 - late.mean() < 0.9
    step = PathDropoutSampler(SPACE, 1000, rate=0.25, begin=0.5, end=0.5)
    assert [step.drop_probability(2, update) for update in (0, 499, 500)] == [0, 0, 0.5]
    constant = PathDropoutSampler(SPACE, 1000, rate=0.25, end=0)
    assert constant.drop_probability(2, 0) == 0.5


def test_rate_one_keeps_a_single_uniform_candidate() -> None:
    found = masks(PathDropoutSampler(SPACE, 1, rate=1, end=0), "six", range(3000))
    assert (found.sum(axis=1) == 1).all()
    assert stats.chisquare(found.sum(axis=0)).pvalue > 1e-3
    widths = [
        draw(PathDropoutSampler(SPACE, 1, end=0), update).architecture["width"] for update in range(400)
    ]
    assert 150 < widths.count(8) < 250


def test_a_single_candidate_computes_what_the_single_path_computes() -> None:
    supernet = blocks_supernet()
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    path = draw(PathDropoutSampler(supernet.space, 1, rate=1, end=0), 0)
    indices = [gate.active[0] for gate in path.gates.values()]
    single = supernet.space.architecture(indices)
    supernet.eval()
    assert torch.equal(supernet(x, path), supernet(x, single))
    standalone = supernet.extract(single)
    torch.testing.assert_close(supernet(x, path), standalone(x), rtol=0, atol=1e-6)


def test_a_gated_path_does_not_depend_on_what_was_active_before() -> None:
    width = Choice("width", [2, 3])
    module = nn.Sequential(
        ElasticConv2d(1, width, 1), ChoiceBlock({"a": nn.Tanh(), "b": nn.Sigmoid()}, Choice("op", ["a", "b"]))
    )
    supernet = Supernet(module)
    path = GatedPath(supernet.space.parse("0,0"), {"op": Gate.subset((0, 1))})
    x = torch.ones(1, 1, 2, 2)
    for before in ("1,1", "0,1"):
        supernet(x, supernet.space.parse(before))
        y = supernet(x, path)
        assert y.shape[1] == 2
        torch.testing.assert_close(y, module[0](x).tanh() + module[0](x).sigmoid())
    assert supernet(x, supernet.space.parse("1,1")).shape[1] == 3


def test_ghost_batches_run_parts_of_a_batch_each_with_its_own_mask_and_statistics() -> None:
    supernet = blocks_supernet().train()
    (path,) = PathDropoutSampler(supernet.space, 1, rate=0.5, end=0, num_ghost_batches=3).paths(
        0, generator(3, "paths", 0)
    )
    assert isinstance(path, GhostBatches)
    x = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = supernet(x, path)
    parts = [supernet(part, own) for part, own in zip(x.tensor_split(3), path.paths, strict=True)]
    assert torch.equal(whole, torch.cat(parts))
    assert len({tuple(gate.active for gate in own.gates.values()) for own in path.paths}) > 1
    assert len(supernet.eval()(x[:2], path)) == 2
    with pytest.raises(SpaceError, match="one path at a time"):
        supernet.activate(path)


def test_training_moves_what_is_kept_and_counts_it(toys: Any) -> None:
    supernet, counts = blocks_supernet((3, 2)), CandidateCounts()
    before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
    sampler = PathDropoutSampler(supernet.space, 6, rate=0.5, end=0)
    train_supernet(
        supernet,
        toys.NoiseTask(),
        sampler=sampler,
        recipe=Recipe(epochs=1, batch_size=96, learning_rate=0.1, weight_decay=0.1),
        counts=counts,
    )
    gates = draw(sampler, 0).gates
    for block, (name, gate) in enumerate(gates.items()):
        for index, candidate in enumerate(supernet.module.blocks[block].candidates):
            weight = candidate[0].weight
            moved = not torch.equal(weight, before[f"module.blocks.{block}.candidates.{index}.0.weight"])
            assert moved == (index in gate.active) == bool(counts.by_block[name][f"c{index}"])
    assert sum(len(gate.active) for gate in gates.values()) < 5


def test_counts_see_only_what_runs_with_gradients() -> None:
    inner = ChoiceBlock({"relu": nn.ReLU(), "tanh": nn.Tanh()})
    supernet = Supernet(nn.Sequential(ChoiceBlock({"nested": inner, "skip": nn.Identity()})))
    counts, x = CandidateCounts(), torch.ones(1, 1)
    with counts.watch(supernet):
        supernet(x, supernet.space.parse("0,1"))
        supernet(x, supernet.space.parse("1,0"))  # the inner block does not run
        with torch.no_grad():
            supernet(x, supernet.space.parse("0,0"))
    supernet(x, supernet.space.parse("0,0"))
    assert counts.by_block == {
        "0": {"nested": 1, "skip": 1},
        "0.candidates.0": {"relu": 0, "tanh": 1},
    }


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="rate <= 1"):
        PathDropoutSampler(SPACE, 10, rate=1.5)
    with pytest.raises(ConfigurationError, match="got rate=0"):
        PathDropoutSampler(SPACE, 10, begin=0.5, end=0.4)
    with pytest.raises(ConfigurationError, match="num_ghost_batches"):
        PathDropoutSampler(SPACE, 10, num_ghost_batches=0)
    dependent = SearchSpace(
        [Choice("op", ["conv", "skip"]), Choice("width", [8, 16])], {"width": [{"op": ["conv"]}]}
    )
    with pytest.raises(ConfigurationError, match="'width' depends on 'op'"):
        PathDropoutSampler(dependent, 10)
    with pytest.raises(SpaceError, match="at least one path"):
        GhostBatches([])
