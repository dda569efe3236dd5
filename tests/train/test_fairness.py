from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from train.choice_networks import blocks_supernet

from onepath.errors import ConfigurationError
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.space import Choice, SearchSpace
from onepath.testing import known_space
from onepath.train import (
    CandidateCounts,
    Phase,
    Recipe,
    Sampler,
    StrictFairnessSampler,
    UniformSampler,
    train_supernet,
)
from onepath.train.training import Training

SPACE = SearchSpace([Choice(f"blocks.{i}", ["a", "b", "c", "d", "e", "f"]) for i in range(5)])


def rows(sampler: Sampler, update: int, seed: int = 0) -> np.ndarray:
    paths = sampler.paths(update, generator(seed, "paths", update))
    return np.array([path.indices for path in paths])


def counts_over_time(sampler: Sampler, num_updates: int) -> np.ndarray:
    """(updates, choices, options): how often each was drawn so far."""
    counts = np.zeros((num_updates, SPACE.num_choices, 6), dtype=int)
    for update in range(num_updates):
        for row in rows(sampler, update):
            counts[update, np.arange(SPACE.num_choices), row] += 1
    return counts.cumsum(axis=0)


def is_strictly_fair(counts: np.ndarray) -> bool:
    """Every option of every choice was drawn exactly once per update, at every time."""
    return bool((counts == np.arange(1, len(counts) + 1)[:, None, None]).all())


def test_every_option_is_in_exactly_one_path_of_every_update() -> None:
    assert is_strictly_fair(counts_over_time(StrictFairnessSampler(SPACE), 1000))


def test_six_uniform_paths_per_update_fail_the_same_count() -> None:
    class SixUniform(UniformSampler):
        def paths(self, update, rng):
            return self.space.architectures(self.space.sample(6, rng))

    counts = counts_over_time(SixUniform(SPACE), 1000)
    assert counts[:, 0].sum() == sum(6 * update for update in range(1, 1001))
    assert not is_strictly_fair(counts)


def test_uniform_sampling_is_fair_in_expectation_and_strictly_fair_with_the_known_probability() -> None:
    """FairNAS's lemma: 6 draws of 6 options are all different with probability 6! / 6 ** 6 = 0.0154."""
    sampler = UniformSampler(SPACE)
    drawn = np.concatenate([rows(sampler, update) for update in range(12_000)])
    for column in drawn.T:
        assert stats.chisquare(np.bincount(column, minlength=6)).pvalue > 1e-3
    groups = np.sort(drawn.reshape(2000, 6, 5), axis=1)
    num_fair = int((groups == np.arange(6)[:, None]).all(axis=1).sum())
    probability = math.factorial(6) / 6**6
    assert stats.binomtest(num_fair, 10_000, probability).pvalue > 1e-3
    assert probability == pytest.approx(0.0154, abs=5e-5)


def test_permutations_of_different_choices_are_independent_and_uniform() -> None:
    space = SearchSpace([Choice(name, ["x", "y", "z"]) for name in "ab"])
    sampler = StrictFairnessSampler(space)
    pairs = [rows(sampler, update) for update in range(6000)]
    codes = [(row[:, 0] @ [9, 3, 1]) * 27 + row[:, 1] @ [9, 3, 1] for row in pairs]
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 36
    assert stats.chisquare(counts).pvalue > 1e-3


def test_different_numbers_of_options_repeat_those_used_least() -> None:
    space = SearchSpace(
        [Choice(name, list(range(num))) for name, num in zip("abcd", (5, 3, 2, 1), strict=True)]
    )
    sampler = StrictFairnessSampler(space)
    assert sampler.num_paths == 5
    totals = [np.zeros(5, dtype=int) for _ in range(4)]
    for update in range(1000):
        drawn = rows(sampler, update)
        assert len(drawn) == 5
        for column, num in enumerate((5, 3, 2, 1)):
            counts = np.bincount(drawn[:, column], minlength=5)
            totals[column] = totals[column] + counts
            assert counts[:num].min() >= 1
            assert np.ptp(totals[column][:num]) <= 1
    assert totals[0].tolist() == [1000] * 5
    assert totals[2].tolist() == [2500, 2500, 0, 0, 0]


def test_choices_that_depend_on_others_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="always active"):
        StrictFairnessSampler(known_space()[0])


# In training


def test_every_candidate_of_every_layer_is_trained_once_per_update(toys: Any) -> None:
    """200 updates of a real supernet: what ran is counted, not what was planned."""
    supernet, counts, seen = blocks_supernet((3, 3)), CandidateCounts(), []

    def look(update: int, num_updates: int) -> None:
        assert {n for block in counts.by_block.values() for n in block.values()} == {update}
        seen.append(num_updates)

    train_supernet(
        supernet,
        toys.NoiseTask(80),
        sampler=StrictFairnessSampler(supernet.space),
        recipe=Recipe(epochs=20, batch_size=8, learning_rate=0.01, weight_decay=0.0),
        counts=counts,
        on_update=look,
    )
    assert seen == [200] * 200
    assert list(counts.by_block) == ["blocks.0", "blocks.1"]


def gradients(supernet: Supernet, task: Any, sampler: Sampler, reduction: str) -> dict[str, torch.Tensor]:
    """Those that the first update gives to the optimizer."""
    recipe = Recipe(epochs=1, batch_size=96, learning_rate=0.1, momentum=0.0, label_smoothing=0.0)
    training = Training(
        supernet,
        supernet,
        task,
        [Phase("supernet", recipe, sampler, reduction=reduction)],
        seed=0,
        device=torch.device("cpu"),
    )
    found: dict[str, torch.Tensor] = {}
    step = training.optimizer.step

    def look(rate: float) -> None:
        found.update({n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None})
        step(rate)

    training.optimizer.step = look
    training.run(None, None, None)
    return found


@pytest.mark.parametrize("nums", [(3, 3, 3), (2, 4, 3)])
def test_accumulated_gradients_are_those_of_the_summed_losses(toys: Any, nums: tuple[int, ...]) -> None:
    supernet, task = blocks_supernet(nums), toys.NoiseTask()
    sampler = StrictFairnessSampler(supernet.space)
    found = gradients(supernet, task, sampler, "sum")
    reference = blocks_supernet(nums)
    inputs, targets = next(task.train_batches(96, seed=0, num_updates=1))
    paths = sampler.paths(0, generator(0, "paths", 0))
    sum(task.loss(reference(inputs, path), targets) for path in paths).backward()
    assert found.keys() == {name for name, _ in reference.named_parameters()}
    for name, p in reference.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=0, atol=1e-6)
    assert max(gradient.abs().max() for gradient in found.values()) > 0.1


def test_mean_divides_by_the_paths_that_reach_a_parameter(toys: Any) -> None:
    """Blocks of 3, 2 and 3 candidates: stem and head are in 3 paths, a candidate of the second in 1 or 2."""
    task = toys.NoiseTask()
    found = {}
    for reduction in ("sum", "mean"):
        supernet = blocks_supernet((3, 2, 3))
        found[reduction] = gradients(supernet, task, StrictFairnessSampler(supernet.space), reduction)
    paths = StrictFairnessSampler(supernet.space).paths(0, generator(0, "paths", 0))
    uses = np.bincount([path.indices[1] for path in paths])
    assert sorted(uses) == [1, 2]
    for name, total in found["sum"].items():
        num = 3 if name.startswith(("module.stem", "module.head")) else 1
        if name.startswith("module.blocks.1."):
            num = uses[int(name.split(".")[4])]
        torch.testing.assert_close(found["mean"][name], total / int(num), rtol=1e-6, atol=1e-8)


def test_the_reduction_is_part_of_what_a_checkpoint_continues(toys: Any) -> None:
    recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.1)
    checkpoint = toys.MemoryCheckpoint()

    def train(reduction: str) -> None:
        supernet = blocks_supernet()
        sampler = StrictFairnessSampler(supernet.space)
        options = {"recipe": recipe, "checkpoint": checkpoint, "reduction": reduction}
        train_supernet(supernet, toys.NoiseTask(), sampler=sampler, **options)

    train("mean")
    train("mean")
    with pytest.raises(ConfigurationError, match="its reduction is 'mean' and 'sum' was asked for"):
        train("sum")


def test_the_default_recipe_is_fair_from_the_first_update(toys: Any) -> None:
    """Small data would begin with one path alone, were it not for the sampler's promise."""
    fair, uniform = CandidateCounts(), CandidateCounts()
    for sampler, counts in ((StrictFairnessSampler, fair), (UniformSampler, uniform)):
        supernet = blocks_supernet()
        train_supernet(supernet, toys.NoiseTask(), sampler=sampler(supernet.space), epochs=4, counts=counts)
    for block in fair.by_block.values():
        assert len(set(block.values())) == 1
    assert any(len(set(block.values())) > 1 for block in uniform.by_block.values())


@pytest.mark.parametrize("stop", [1, 3])
def test_resuming_keeps_weights_and_counts(toys: Any, stop: int) -> None:
    recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.1)

    def train(supernet: Supernet, counts: CandidateCounts, **options: Any) -> None:
        sampler = UniformSampler(supernet.space)
        options = {"recipe": recipe, "reduction": "mean", "counts": counts, **options}
        train_supernet(supernet, toys.NoiseTask(), sampler=sampler, **options)

    def stop_now(update: int, total: int) -> None:
        if update == stop:
            raise KeyboardInterrupt

    whole, all_counts = blocks_supernet(), CandidateCounts()
    train(whole, all_counts)
    checkpoint, stopped, resumed, counts = (
        toys.MemoryCheckpoint(),
        blocks_supernet(),
        blocks_supernet(),
        CandidateCounts(),
    )
    with pytest.raises(KeyboardInterrupt):
        train(stopped, CandidateCounts(), checkpoint=checkpoint, on_update=stop_now)
    train(resumed, counts, checkpoint=checkpoint)
    assert counts.by_block == all_counts.by_block
    assert [sum(block.values()) for block in counts.by_block.values()] == [6, 6, 6]
    for (name, first), second in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(first, second), name


def test_a_checkpoint_of_another_form_is_refused(toys: Any) -> None:
    recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.1)
    checkpoint = toys.MemoryCheckpoint()
    supernet = blocks_supernet()
    options = {"sampler": UniformSampler(supernet.space), "recipe": recipe, "checkpoint": checkpoint}
    train_supernet(supernet, toys.NoiseTask(), **options)
    del checkpoint.state["settings"]["reduction"]
    with pytest.raises(ConfigurationError, match="its reduction is None and 'sum' was asked for"):
        train_supernet(supernet, toys.NoiseTask(), **options)


def test_the_order_of_the_paths_does_not_matter(toys: Any) -> None:
    """What makes it fair: one step for all of them. (Normalisation statistics do depend on the order.)"""

    class Reversed(StrictFairnessSampler):
        def paths(self, update, rng):
            return super().paths(update, rng)[::-1]

    found = [
        gradients(supernet := blocks_supernet(), toys.NoiseTask(), sampler(supernet.space), "sum")
        for sampler in (StrictFairnessSampler, Reversed)
    ]
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=0, atol=1e-6)
    assert all(a == b for a, b in pairwise([list(f) for f in found]))
