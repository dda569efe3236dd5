from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from counting.tables import conditional_space

from onepath.errors import SpaceError
from onepath.space import Architecture, Choice, SearchSpace


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return conditional_space()


def test_equal_when_active_choices_are_equal(space: SearchSpace) -> None:
    first = space.architecture([0, 1, 2, 2, 2, 2, 2])
    second = space.architecture([0, 1, 2, 0, 1, 0, 1])
    assert first == second
    assert hash(first) == hash(second)
    assert first.indices == (0, 1, 2, 0, 0, 0, 0)
    assert first != space.architecture([1, 1, 2, 2, 2, 2, 2])
    assert first != (0, 1, 2, 0, 0, 0, 0)


def test_equal_across_equal_spaces_only(space: SearchSpace) -> None:
    twin = conditional_space()
    assert space.architecture([0] * 7) == twin.architecture([0] * 7)
    other = SearchSpace(space.choices)
    assert space.architecture([0] * 7) != other.architecture([0] * 7)


def test_options_by_name(space: SearchSpace) -> None:
    architecture = space.architecture([1, 0, 1, 2, 1, 0, 0])
    assert architecture["depth"] == 2
    assert architecture["blocks.2"] == "c"
    assert architecture.options == {
        "depth": 2,
        "blocks.0": "a",
        "blocks.1": "b",
        "blocks.2": "c",
        "blocks.3": "b",
    }
    with pytest.raises(SpaceError, match=r"got 'block.2'; did you mean 'blocks.2'"):
        architecture["block.2"]


def test_text_and_json_round_trip(space: SearchSpace) -> None:
    for architecture in space.architectures(space.sample(200, np.random.default_rng(0))):
        assert space.parse(str(architecture)) == architecture
        assert space.parse(architecture.to_json()) == architecture
        assert Architecture.from_json(space, architecture.to_json()) == architecture
        assert space.architecture(architecture.options) == architecture
    assert str(space.architecture([2, 1, 0, 1, 2, 0, 2])) == "2,1,0,1,2,0,2"
    assert space.architecture([0] * 7).to_json() == '{"depth": 1, "blocks.0": "a", "blocks.1": "a"}'


def test_json_keeps_the_type_of_options() -> None:
    space = SearchSpace([Choice("a", [1, 2.5]), Choice("b", [True, False]), Choice("c", ["x"])])
    architecture = space.architecture([1, 1, 0])
    assert architecture.to_json() == '{"a": 2.5, "b": false, "c": "x"}'
    assert Architecture.from_json(space, architecture.to_json()) == architecture


@pytest.mark.parametrize("text", ["", "{", "[1]", '"depth"'])
def test_malformed_json(space: SearchSpace, text: str) -> None:
    with pytest.raises(SpaceError, match="must be a JSON object"):
        Architecture.from_json(space, text)


def test_does_not_change_and_copies_to_itself(space: SearchSpace) -> None:
    architecture = space.architecture([0] * 7)
    with pytest.raises(AttributeError, match="does not change"):
        architecture.indices = (1,)
    with pytest.raises(AttributeError, match="does not change"):
        del architecture.indices
    assert copy.copy(architecture) is copy.deepcopy(architecture) is architecture
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert repr(architecture) == "Architecture(0,0,0,0,0,0,0)"


class _Letters:
    """Two choices written as two letters; their order does not matter to the stand-alone network."""

    def parse(self, text: str):
        return dict(zip("xy", text, strict=True)) if len(text) == 2 and set(text) <= {"1", "2"} else None

    def format(self, options) -> str:
        return options["x"] + options["y"]

    def standalone_form(self, options):
        return dict(zip("xy", sorted(options.values()), strict=True))


def test_a_notation_of_digits_comes_before_indices() -> None:
    space = SearchSpace([Choice("x", ["1", "2"]), Choice("y", ["1", "2"])], notation=_Letters())
    assert space.parse("21").indices == (1, 0)
    assert space.parse("1,0").indices == (1, 0)
    with pytest.raises(SpaceError, match="a text like '11'"):
        space.parse("ab")


def test_stand_alone_forms_are_the_notations() -> None:
    choices = [Choice("x", ["1", "2"]), Choice("y", ["1", "2"])]
    space = SearchSpace(choices, notation=_Letters())
    assert space.standalone_form(space.parse("21")) == space.standalone_form(space.parse("12"))
    plain = SearchSpace(choices)
    assert plain.standalone_form(plain.parse("1,0")) == plain.parse("1,0")
