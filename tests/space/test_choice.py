from __future__ import annotations

import copy

import pytest

from onepath.errors import BindingError, SpaceError
from onepath.space import Choice, Expression, SearchSpace, round_to, size_choices, size_max, size_value


def test_choices_are_equal_only_to_themselves() -> None:
    first, second = Choice("width", [8, 16]), Choice("width", [8, 16])
    assert first == first
    assert first != second
    assert len({first, second}) == 2


def test_deepcopy_keeps_sharing_inside_one_copy() -> None:
    width = Choice("width", [8, 16])
    half = width // 2
    copied_width, copied_half, twin = copy.deepcopy([width, half, width])
    assert copied_width is not width
    assert copied_width is twin
    assert copied_half.choices == (copied_width,)
    assert copied_width.options == (8, 16)


def test_choice_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Choice("width", [8]).name = "depth"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", ["a"], "needs a name"),
        ("op", [], "len"),
        ("op", "abc", "must be a list"),
        ("op", ["a", "a"], "distinct"),
        ("op", [1, True], "distinct"),
        ("op", [1, 1.0], "distinct"),
        ("op", [float("nan")], "finite"),
        ("op", [None], "strings, finite numbers or booleans"),
        ("op", [(1, 2)], "strings, finite numbers or booleans"),
    ],
)
def test_malformed_choices(name, options, message) -> None:
    with pytest.raises(SpaceError, match=message):
        Choice(name, options)


@pytest.mark.parametrize(
    ("options", "role"),
    [
        (["a", "b"], "operation"),
        (["none", 3, 5], "operation"),
        ([3, 5], "size"),
        ([0.5, 1], "size"),
        ([False, True], "size"),
    ],
)
def test_the_role_that_nobody_said(options, role) -> None:
    choice = Choice("c", options)
    assert choice.role == role
    assert choice.is_ordered == (role != "operation")


@pytest.mark.parametrize("role", ["operation", "size", "depth", "bits", "resolution"])
def test_a_role_that_is_said_stays(role) -> None:
    choice = Choice("c", [2, 4], role=role)
    choice.take_role("operation")  # a block may decide by a choice of any role
    assert choice.role == role
    if role == "operation":
        with pytest.raises(
            BindingError, match="choice 'c' has role 'operation' and must not be used as a size"
        ):
            choice.take_role("size")
    else:
        choice.take_role("size")
    assert choice.role == role
    assert copy.deepcopy(choice).role == role


def test_modules_say_the_role_in_any_order() -> None:
    blocks = Choice("blocks", [2, 4])
    blocks.take_role("operation")
    assert (blocks.role, blocks.is_ordered) == ("operation", False)
    blocks.take_role("depth")
    assert (blocks.role, blocks.is_ordered) == ("depth", True)
    blocks.take_role("size")
    blocks.take_role("operation")
    assert blocks.role == "depth"


@pytest.mark.parametrize(
    ("options", "role", "message"),
    [
        ([1, 2], "width", "must be one of operation, size, depth, bits, resolution; got 'width'"),
        (["a", "b"], "size", "options of choice 'c', a size, must be numbers; got 'a'"),
        ([8, "full"], "bits", "got 'full'"),
    ],
)
def test_roles_that_do_not_fit(options, role, message) -> None:
    with pytest.raises(SpaceError, match=message):
        Choice("c", options, role=role)


def test_the_role_is_no_part_of_what_a_space_is() -> None:
    spaces = [SearchSpace([Choice("c", [2, 4], role=role)]) for role in (None, "bits", "depth")]
    assert len({space.fingerprint for space in spaces}) == 1
    assert spaces[0].architecture([1]) == spaces[1].architecture([1])


def test_index_suggests_the_nearest_option() -> None:
    choice = Choice("block", ["shuffle_3x3", "shuffle_5x5", "xception"])
    assert choice.index("xception") == 2
    with pytest.raises(SpaceError, match="did you mean 'xception'"):
        choice.index("xceptoin")


def test_arithmetic_agrees_with_numbers() -> None:
    width, ratio = Choice("width", [16, 24]), Choice("ratio", [0.5, 1.5])
    cases = [
        (width * 0.5, 24 * 0.5),
        (0.5 * width, 0.5 * 24),
        (width + ratio, 24 + 1.5),
        (1 + width, 25),
        (width - 1, 23),
        (100 - width, 76),
        (width // 5, 4),
        (width * 0.33 // 1, 7),
        (100 // width, 4),
        ((width * ratio + 8) // 3 - 1, (24 * 1.5 + 8) // 3 - 1),
        (width * width, 576),
        (round_to(width * ratio, 8), 40),
    ]
    for expression, expected in cases:
        assert isinstance(expression, Expression)
        assert expression.value({width: 24, ratio: 1.5}) == expected


def test_values_and_maximum() -> None:
    width, ratio = Choice("width", [16, 24]), Choice("ratio", [0.5, 1.0])
    product = width * ratio
    assert product.choices == (width, ratio)
    assert product.values() == (8, 12, 16, 24)
    assert product.max() == 24
    assert (width - width).values() == (0,)  # the same choice on both sides has one option


@pytest.mark.parametrize(
    ("number", "divisor", "minimum", "expected"),
    [
        (32, 8, None, 32),
        (33, 8, None, 32),
        (36, 8, None, 40),
        (35.5, 8, None, 32),
        (11, 8, None, 16),  # 8 would be under 0.9 of 11
        (8.8, 8, None, 8),
        (1, 8, None, 8),
        (1, 8, 4, 4),
        (12, 8, 16, 16),
        (44, 40, None, 40),
        (5, 1, None, 5),
    ],
)
def test_round_to(number, divisor, minimum, expected) -> None:
    assert round_to(number, divisor, minimum) == expected


def test_round_to_never_loses_more_than_a_tenth() -> None:
    for tenths in range(10, 2000):
        rounded = round_to(tenths / 10, 8)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * tenths / 10


def test_sizes() -> None:
    width = Choice("width", [16, 24])
    half = round_to(width * 0.5, 4)
    assert size_value(7, {}) == size_max(7) == 7
    assert size_choices(7) == ()
    assert size_value(width, {width: 24}) == size_max(width) == 24
    assert size_choices(width) == (width,)
    assert size_value(half, {width: 24}) == size_max(half) == 12
    assert size_choices(half) == (width,)
    assert size_value(width * 0.5, {width: 24}) == 12


def test_sizes_must_be_positive_integers() -> None:
    width = Choice("width", [15, 24])
    with pytest.raises(SpaceError, match=r"positive integer; got 7\.5 .*'width'.*round_to"):
        size_value(width * 0.5, {width: 15})
    with pytest.raises(SpaceError, match="positive integer; got -9"):
        size_max(width - 24)
    with pytest.raises(SpaceError, match="positive integer"):
        size_value(0, {})


def test_only_numbers_can_be_combined() -> None:
    operation, width = Choice("operation", ["a", "b"]), Choice("width", [8])
    with pytest.raises(SpaceError, match="choice 'operation' has option 'a'"):
        operation * 2
    with pytest.raises(SpaceError, match="'operation' stands for a size"):
        size_value(operation, {operation: "a"})
    with pytest.raises(SpaceError, match="numbers and choices"):
        width * "2"
    with pytest.raises(SpaceError, match="value for choice 'width' is needed"):
        (width * 2).value({})
    with pytest.raises(SpaceError, match="must not be 0"):
        (8 // (width - 8)).value({width: 8})
    with pytest.raises(SpaceError, match="divisor >= 1"):
        round_to(width, 0)
