"""Rows, boxes and colours from the names of choices."""

from __future__ import annotations

from onepath.report.drawing import draw


def choice(name: str, *options: object) -> dict[str, object]:
    return {"name": name, "options": list(options)}


def test_rows_are_prefixes_and_keep_the_order_of_the_space() -> None:
    names = ["width", "stages.1.0", "stages.0.0", "stages.0.1", "stages.1.1"]
    drawing = draw([choice(name, "a", "b") for name in names], dict.fromkeys(names, "a"))
    assert drawing is not None
    assert [(row.label, [box.label for box in row.boxes]) for row in drawing.rows] == [
        ("network", ["width"]),
        ("stages.1", ["0", "1"]),
        ("stages.0", ["0", "1"]),
    ]
    assert draw([], {}) is None


def test_choices_inside_a_block_are_parts_of_its_box_at_any_depth() -> None:
    names = ["s.0", "s.0.scale", "s.0.wide.kernel", "s.0.wide.kernel.stride", "s.1"]
    drawing = draw([choice(name, "x") for name in names], dict.fromkeys(names, "x"))
    assert drawing is not None
    (row,) = drawing.rows
    first, second = row.boxes
    assert [(part.label, part.name) for part in first.parts] == [
        ("scale", "s.0.scale"),
        ("wide.kernel", "s.0.wide.kernel"),
    ]
    assert [part.label for part in first.parts[1].parts] == ["stride"]
    assert second.parts == ()


def test_inactive_choices_are_drawn_as_not_used_and_not_counted() -> None:
    drawing = draw([choice("b.0.kernel", 3, 5), choice("b.1.kernel", 3, 5)], {"b.0.kernel": 5})
    assert drawing is not None
    (used,), (unused,) = (row.boxes for row in drawing.rows)
    assert (used.option, used.is_active) == ("5", True)
    assert (unused.option, unused.is_active) == ("not used", False)
    (legend,) = drawing.legends
    assert [(entry.option, entry.count) for entry in legend.entries] == [("3", 0), ("5", 1)]
    assert legend.title == "kernel (2 choices)"


def test_numbers_are_shades_of_one_hue_and_names_have_a_hue_each() -> None:
    drawing = draw(
        [
            choice("kernel", 7, 3, 5),
            choice("s.0", "conv", "skip"),
            choice("s.1", "skip", "pool"),
            choice("se", True, False),
        ],
        {"kernel": 3, "s.0": "skip", "s.1": "skip", "se": True},
    )
    assert drawing is not None
    kernel, first, second, flag = drawing.legends
    assert len({entry.hue for entry in kernel.entries}) == 1
    assert [round(entry.strength, 3) for entry in kernel.entries] == [1.0, 0.333, 0.667]
    assert first.entries[1].hue == second.entries[0].hue
    hues = [entry.hue for legend in (first, second, flag) for entry in legend.entries] + [
        kernel.entries[0].hue
    ]
    assert len(set(hues)) == 6
    assert {entry.strength for entry in (*first.entries, *flag.entries)} == {1.0}


def test_long_legends_show_what_was_chosen() -> None:
    options = [f"operation-{index}" for index in range(50)]
    drawing = draw(
        [choice("s.0", *options), choice("s.1", *options)], {"s.0": "operation-40", "s.1": "operation-2"}
    )
    assert drawing is not None
    (legend,) = drawing.legends
    assert [entry.option for entry in legend.entries] == [*options[:12], "operation-40"]
    assert legend.num_hidden == 37
    assert legend.title == "s.0 and 1 more"
