"""The contract of `Sampler`, as checks that run on any implementation.

`make(space)` builds a sampler for a space. A check raises AssertionError where the contract is broken.
`SAMPLER_CHECKS` holds all of them::

    @pytest.mark.parametrize("check", SAMPLER_CHECKS)
    def test_contract(check):
        check(lambda space: UniformSampler(space))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onepath.nn import GatedPath, GhostBatches, Path
from onepath.randomness import generator
from onepath.space import Architecture, Choice, SearchSpace
from onepath.train import Sampler

MakeSampler = Callable[[SearchSpace], Sampler]

_NUM_UPDATES = 200


def sampled_space() -> SearchSpace:
    """Return a space of five unconditional choices with different numbers of options; one choice is a size."""
    blocks = [Choice(f"blocks.{index}", ["a", "b", "c", "d"][: 2 + index % 3]) for index in range(4)]
    return SearchSpace([*blocks, Choice("width", [8, 16, 24])])


Described = tuple[Architecture, dict[str, tuple[int, ...]]]
"""An architecture, and choice -> indices of its active candidates for the choices that have gates."""


def draw(sampler: Sampler, update: int, seed: int = 0) -> list[Described]:
    """Return the paths of an update, drawn as a training draws them; ghost batches give the paths of all parts."""
    paths = sampler.paths(update, generator(seed, "paths", update))
    return [described for path in paths for described in _described(path)]


def _described(path: Path) -> list[Described]:
    if isinstance(path, GhostBatches):
        return [described for own in path.paths for described in _described(own)]
    if isinstance(path, GatedPath):
        return [(path.architecture, {name: gate.active for name, gate in path.gates.items()})]
    assert isinstance(path, Architecture), (
        "gates without an architecture depend on what was active before; answer a GatedPath"
    )
    return [(path, {})]


def check_paths_are_of_the_space(make: MakeSampler) -> None:
    """Check that every update has a path, and every path is a canonical architecture with gates of the space."""
    space = sampled_space()
    sampler = make(space)
    for update in range(_NUM_UPDATES):
        paths = draw(sampler, update)
        assert paths, f"update {update} has no path"
        for path, gates in paths:
            assert path == space.architecture(path.indices), f"{path} is not an architecture of the space"
            for name, active in gates.items():
                num_options = space.choices[space.column(name)].num_options
                assert max(active) < num_options, f"{name!r} has no candidate {max(active)}"


def check_update_and_generator_decide(make: MakeSampler) -> None:
    """Check that an update's paths do not depend on earlier draws, so that resuming needs no replay."""
    space = sampled_space()
    sampler = make(space)
    forwards = [draw(sampler, update) for update in range(_NUM_UPDATES)]
    backwards = [draw(sampler, update) for update in reversed(range(_NUM_UPDATES))]
    assert forwards == backwards[::-1], "an update's paths depend on the updates asked for before"
    other = make(space)
    resumed = [draw(other, update) for update in range(_NUM_UPDATES // 2, _NUM_UPDATES)]
    assert resumed == forwards[_NUM_UPDATES // 2 :], "a new sampler continues with other paths"


def check_seed_matters(make: MakeSampler) -> None:
    """Check that another seed draws other paths."""
    sampler = make(sampled_space())
    first, other = ([draw(sampler, update, seed) for update in range(_NUM_UPDATES)] for seed in (0, 1))
    assert first != other, "the generator does not matter"


def check_nothing_else_is_random(make: MakeSampler) -> None:
    """Check that NumPy's global generator is not used."""
    sampler = make(sampled_space())
    before = _global_state()
    for update in range(_NUM_UPDATES):
        draw(sampler, update)
    assert _global_state() == before, "NumPy's global generator was used"


def check_every_option_is_trained(make: MakeSampler) -> None:
    """Check that over some hundred updates every option of every choice is drawn."""
    space = sampled_space()
    sampler = make(space)
    paths = [path for update in range(_NUM_UPDATES) for path in draw(sampler, update)]
    for column, choice in enumerate(space.choices):
        drawn = {index for path, gates in paths for index in gates.get(choice.name, (path.indices[column],))}
        missing = set(range(choice.num_options)) - drawn
        assert not missing, f"options {sorted(missing)} of {choice.name!r} were not drawn"


SAMPLER_CHECKS: tuple[Callable[[MakeSampler], None], ...] = (
    check_paths_are_of_the_space,
    check_update_and_generator_decide,
    check_seed_matters,
    check_nothing_else_is_random,
    check_every_option_is_trained,
)


def _global_state() -> tuple[bytes, int]:
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - what must not be used
    return state["key"].tobytes(), state["pos"]
