from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, pair_space, plain_space
from scipy.stats import chisquare

from onepath.counting import CostTable
from onepath.errors import SpaceError
from onepath.space import Choice, SearchSpace


def mixed_space() -> SearchSpace:
    """Numbers of options that divide no power of two."""
    return SearchSpace(
        [Choice("a", list(range(3))), Choice("b", list(range(5))), Choice("c", list(range(7)))]
    )


def nested_space() -> SearchSpace:
    """b depends on a, c on a and b together or on a alone."""
    a, b, c = (Choice(name, [0, 1, 2]) for name in "abc")
    return SearchSpace([a, b, c], {"b": [{"a": [1, 2]}], "c": [{"a": [2]}, {"a": [1], "b": [2]}]})


# Size, equality, conditions


def test_size_is_the_number_of_distinct_architectures() -> None:
    assert plain_space().size == 4**20
    assert pair_space().size == 32**20
    assert conditional_space().size == 9 + 81 + 729
    assert nested_space().size == 1 + (2 + 3) + 9
    for space in (conditional_space(), nested_space(), mixed_space()):
        architectures = list(space.enumerate())
        assert len(architectures) == len(set(architectures)) == space.size
        assert [item.indices for item in architectures] == sorted(item.indices for item in architectures)
        every = np.array(list(itertools.product(*(range(num) for num in space.num_options))))
        assert len(np.unique(space.canonical(every), axis=0)) == space.size


def test_active_follows_every_alternative() -> None:
    space = nested_space()
    expected = {
        (0, 0, 0): (True, False, False),
        (1, 0, 0): (True, True, False),
        (1, 2, 1): (True, True, True),
        (2, 0, 1): (True, True, True),
        (0, 2, 0): (True, False, False),
    }
    rows = np.array(list(expected))
    assert space.active(rows).tolist() == [list(row) for row in expected.values()]


def test_inactive_parent_makes_inactive_children() -> None:
    a, b, c = (Choice(name, [0, 1]) for name in "abc")
    space = SearchSpace([a, b, c], {"b": [{"a": [1]}], "c": [{"b": [0]}]})
    assert space.canonical(np.array([[0, 0, 1]])).tolist() == [[0, 0, 0]]
    assert space.size == 1 + (2 + 1)


def test_fingerprint_sees_names_options_and_conditions() -> None:
    spaces = [
        plain_space(2),
        plain_space(3),
        SearchSpace([Choice("c0", [0, 1, 2, 3]), Choice("d", [0, 1, 2, 3])]),
        SearchSpace([Choice("c0", [0, 1, 2, 3]), Choice("c1", ["0", "1", "2", "3"])]),
        SearchSpace([Choice("c0", [0, 1, 2, 3]), Choice("c1", [0, 1, 2, 3])], {"c1": [{"c0": [1]}]}),
        SearchSpace([Choice("c0", [0, 1, 2, 3]), Choice("c1", [0, 1, 2, 3])], {"c1": [{"c0": [2]}]}),
    ]
    assert len({space.fingerprint for space in spaces}) == len(spaces)
    assert plain_space(2).fingerprint == spaces[0].fingerprint


@pytest.mark.parametrize(
    ("choices", "conditions", "message"),
    [
        ([], {}, "len"),
        ([Choice("a", [0]), Choice("a", [1])], {}, "distinct"),
        (
            [Choice("a", [0, 1]), Choice("b", [0])],
            {"b": [{"A": [0]}]},
            "names choices of the space; got 'A'; did you mean 'a'",
        ),
        ([Choice("depth", [0, 1]), Choice("b", [0])], {"b": [{"deph": [0]}]}, "did you mean 'depth'"),
        ([Choice("a", [0, 1]), Choice("b", [0])], {"a": [{"b": [0]}]}, "parent must come before"),
        ([Choice("a", [0, 1]), Choice("b", [0])], {"b": [{"b": [0]}]}, "parent must come before"),
        (
            [Choice("a", [0, 1]), Choice("b", [0])],
            {"b": [{"a": [2]}]},
            "takes its options only; got 2; use one of 0, 1",
        ),
        ([Choice("a", [0, 1]), Choice("b", [0])], {"b": [{"a": []}]}, "never be active"),
        ([Choice("a", [0, 1]), Choice("b", [0])], {"b": []}, "list of alternatives"),
        ([Choice("a", [0, 1]), Choice("b", [0])], {"b": {"a": [0]}}, "list of alternatives"),
        ([Choice("a", ["x"]), Choice("b", [0])], {"b": [{"a": "x"}]}, "must be a collection"),
    ],
)
def test_malformed_spaces(choices, conditions, message) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSpace(choices, conditions)


# Random architectures


def test_sampling_is_uniform_for_every_number_of_options() -> None:
    space = mixed_space()
    rows = space.sample(100_000, np.random.default_rng(0))
    assert rows.dtype == np.uint8
    joint = np.ravel_multi_index(tuple(rows.T), tuple(space.num_options))
    assert chisquare(np.bincount(joint, minlength=105)).pvalue > 1e-3


def test_wide_choices_use_a_wider_type() -> None:
    space = SearchSpace([Choice("wide", list(range(300))), Choice("b", [0, 1])])
    rows = space.sample(10_000, np.random.default_rng(0))
    assert rows.dtype == np.int16
    assert rows[:, 0].max() == 299


def test_conditional_samples_are_canonical() -> None:
    space = conditional_space()
    rows = space.sample(5000, np.random.default_rng(0))
    assert (space.canonical(rows) == rows).all()
    assert (rows[~space.active(rows)] == 0).all()
    assert chisquare(np.bincount(rows[:, 0], minlength=3)).pvalue > 1e-3


def test_mutation_redraws_each_choice_with_the_given_rate() -> None:
    space = mixed_space()
    parents = space.sample(100_000, np.random.default_rng(0))
    before = parents.copy()
    children = space.mutate(parents, 0.3, np.random.default_rng(1))
    assert (parents == before).all()
    changed = (children != parents).mean(axis=0)
    expected = 0.3 * (1 - 1 / space.num_options)
    assert changed == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(parents)))
    assert (space.mutate(parents, 0, np.random.default_rng(1)) == parents).all()
    redrawn = space.mutate(parents, 1, np.random.default_rng(1))
    joint = np.ravel_multi_index(tuple(redrawn.T), tuple(space.num_options))
    assert chisquare(np.bincount(joint, minlength=105)).pvalue > 1e-3
    with pytest.raises(SpaceError, match="0 <= rate <= 1"):
        space.mutate(parents, 1.1, np.random.default_rng(1))


def test_mutating_one_changes_exactly_one_choice_to_any_other_option() -> None:
    space = mixed_space()
    parents = np.tile(np.array([[1, 4, 0]], dtype=np.uint8), (60_000, 1))
    before = parents.copy()
    children = space.mutate_one(parents, np.random.default_rng(0))
    assert (parents == before).all()
    changed = children != parents
    assert (changed.sum(axis=1) == 1).all()
    assert chisquare(changed.sum(axis=0)).pvalue > 1e-3
    for column, old in enumerate([1, 4, 0]):
        counts = np.bincount(children[changed[:, column], column], minlength=space.num_options[column])
        assert counts[old] == 0
        assert chisquare(np.delete(counts, old)).pvalue > 1e-3


def test_mutating_one_draws_what_becomes_active_and_changes_only_what_is() -> None:
    space = conditional_space()
    shallow = space.matrix([space.architecture([0] * 7)] * 90_000)
    children = space.mutate_one(shallow, np.random.default_rng(0))
    assert (space.canonical(children) == children).all()
    active = space.active(shallow[:1])[0]
    assert (children != shallow).any(axis=0)[active].all()
    deep = children[children[:, 0] == 2]
    assert len(deep) == pytest.approx(90_000 / active.sum() / 2, rel=0.05)
    assert chisquare(np.bincount(deep[:, 6], minlength=3)).pvalue > 1e-3


def test_choices_of_one_option_are_not_mutated() -> None:
    space = SearchSpace([Choice("a", [1]), Choice("b", [1, 2]), Choice("c", [1])])
    children = space.mutate_one(space.sample(100, np.random.default_rng(0)), np.random.default_rng(1))
    assert {tuple(row) for row in children.tolist()} == {(0, 0, 0), (0, 1, 0)}
    fixed = SearchSpace([Choice("a", [1])])
    assert fixed.mutate_one(fixed.sample(5, np.random.default_rng(0)), np.random.default_rng(1)).sum() == 0


def test_choices_that_become_active_by_mutation_are_drawn() -> None:
    space = conditional_space()
    shallow = space.matrix([space.architecture([0] * 7)] * 30_000)
    children = space.mutate(shallow, 0.5, np.random.default_rng(0))
    assert (space.canonical(children) == children).all()
    deep = children[children[:, 0] == 2]
    assert chisquare(np.bincount(deep[:, 6], minlength=3)).pvalue > 1e-3


def test_crossover_takes_every_choice_from_one_parent() -> None:
    space = plain_space(9)
    first, second = (np.full((50_000, 9), index, dtype=np.uint8) for index in (1, 2))
    children = space.crossover(first, second, np.random.default_rng(0))
    assert set(np.unique(children)) == {1, 2}
    patterns = (children == 1) @ (1 << np.arange(9))
    assert chisquare(np.bincount(patterns, minlength=512)).pvalue > 1e-3
    with pytest.raises(SpaceError, match="same shape"):
        space.crossover(first, second[:1], np.random.default_rng(0))


def test_crossover_of_conditional_parents_takes_active_options() -> None:
    space = conditional_space()
    deep = space.matrix([space.architecture([2] * 7)] * 10_000)
    shallow = space.matrix([space.architecture([0] * 7)] * 10_000)
    children = space.crossover(deep, shallow, np.random.default_rng(0))
    assert (space.canonical(children) == children).all()
    assert (children[children[:, 0] == 2][:, 5:] == 2).all()  # only the deep parent has these blocks
    assert 0.45 < (children[:, 1] == 2).mean() < 0.55


def test_seeds_repeat() -> None:
    space = mixed_space()
    first, again = (space.sample(50, np.random.default_rng(5)) for _ in range(2))
    assert (first == again).all()
    one = space.architectures(space.sample(1, np.random.default_rng(5)))[0]
    assert space.random(np.random.default_rng(5)) == one


# Encodings


def test_one_hot_and_ordinal() -> None:
    space = nested_space()
    rows = np.array([[0, 0, 0], [1, 2, 1], [2, 1, 2]])
    assert space.one_hot(rows).tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 1, 0],
        [0, 0, 1, 0, 1, 0, 0, 0, 1],
    ]
    assert space.ordinal(rows).tolist() == [[0, 0, 0], [0.5, 1, 0.5], [1, 0.5, 1]]
    assert space.one_hot(rows).dtype == space.ordinal(rows).dtype == np.float32
    single = SearchSpace([Choice("only", ["x"])])
    assert single.ordinal(np.zeros((1, 1), dtype=int)).tolist() == [[0]]


def test_encodings_tell_distinct_architectures_apart() -> None:
    space = conditional_space()
    assert len(np.unique(space.one_hot(space.enumerate_matrix()), axis=0)) == space.size


# Text, mappings, matrices


def test_parse_accepts_the_usual_ways_to_write_indices() -> None:
    space = plain_space(4)
    expected = space.architecture([2, 1, 0, 3])
    for text in (
        "2,1,0,3",
        " 2, 1, 0, 3 ",
        "[2, 1, 0, 3]",
        "(2,1,0,3)",
        "2 1 0 3",
        '{"c0":2,"c1":1,"c2":0,"c3":3}',
    ):
        assert space.parse(text) == expected


def test_parse_uses_the_notation_of_the_space() -> None:
    class Letters:
        def parse(self, text):
            return (
                {f"c{index}": "abcd".index(letter) for index, letter in enumerate(text)}
                if text.isalpha()
                else None
            )

        def format(self, options):
            return "".join("abcd"[option] for option in options.values())

    space = SearchSpace(plain_space(3).choices, notation=Letters())
    architecture = space.parse("cab")
    assert architecture.indices == (2, 0, 1)
    assert space.format(architecture) == "cab"
    assert space.parse("2,0,1") == architecture
    assert plain_space(3).format(architecture) == "2,0,1"
    with pytest.raises(SpaceError, match="an architecture is 3 option indices"):
        space.parse("c-b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 1], "needs 3 option indices; got 2"),
        ([0, 1, 4], r"`0 <= index < 4` must hold for choice 'c2' \(position 2\); got 4"),
        ([0, -1, 0], "got -1"),
        ({"c0": 0, "c1": 0}, "got none for 'c2'"),
        ({"c0": 0, "c1": 0, "c2": 0, "C3": 0}, "got 'C3'; did you mean 'c"),
        ({"c0": 0, "c1": 9, "c2": 0}, "'c1' takes its options only; got 9; use one of 0, 1, 2, 3"),
    ],
)
def test_malformed_architectures(given, message) -> None:
    with pytest.raises(SpaceError, match=message):
        plain_space(3).architecture(given)


def test_mapping_may_give_or_leave_out_inactive_choices() -> None:
    space = nested_space()
    assert space.architecture({"a": 0}) == space.architecture({"a": 0, "b": 2, "c": 1})
    with pytest.raises(SpaceError, match="got none for 'c'"):
        space.architecture({"a": 2, "b": 0})


def test_matrix_round_trip() -> None:
    space = conditional_space()
    rows = space.sample(100, np.random.default_rng(0))
    assert (space.matrix(space.architectures(rows)) == rows).all()
    assert space.matrix([]).shape == (0, 7)
    with pytest.raises(SpaceError, match="of this space"):
        plain_space(7).matrix(space.architectures(rows))


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros((2, 4), dtype=int), np.zeros(3, dtype=int)])
def test_malformed_matrices(matrix) -> None:
    with pytest.raises(SpaceError, match=r"integer matrix of shape \(rows, 3\)"):
        plain_space(3).canonical(matrix)


def test_matrix_with_an_option_that_does_not_exist() -> None:
    with pytest.raises(SpaceError, match="for choice 'c1'"):
        plain_space(3).canonical(np.array([[0, 0, 0], [0, 7, 0]]))


def test_enumeration_of_a_large_space_is_an_error() -> None:
    with pytest.raises(SpaceError, match="to enumerate"):
        plain_space().enumerate()


# Copies and cost windows


def test_copies_have_the_same_architectures() -> None:
    space = conditional_space()
    space.count_within(conditional_table("int"), 0, 50)
    for twin in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert twin.fingerprint == space.fingerprint
        assert twin.size == space.size
        assert twin.count_within(conditional_table("int")) == 819


def test_windows_take_plain_lists_of_costs() -> None:
    space = plain_space(3, 2)
    costs = [[0, 1], [0, 10], [0, 100]]
    assert space.count_within(costs, 1, 100) == 4
    rows = space.sample_within(costs, 101, 101, 5, np.random.default_rng(0))
    assert rows.tolist() == [[1, 0, 1]] * 5
    assert space.window_sampler(costs) is space.window_sampler(CostTable.of(space, costs))
    with pytest.raises(SpaceError, match="one entry per choice, 3; got 2"):
        space.count_within(costs[:2])
