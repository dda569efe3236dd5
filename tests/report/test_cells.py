"""Cells drawn as graphs, from the names of the choices."""

from __future__ import annotations

from typing import Any

from onepath.report.cells import draw_cells

OPERATIONS = ["none", "skip_connect", "nor_conv_3x3"]
BENCHMARK = {
    "0->1": "nor_conv_3x3",
    "0->2": "none",
    "1->2": "skip_connect",
    "0->3": "skip_connect",
    "1->3": "nor_conv_3x3",
    "2->3": "nor_conv_3x3",
}


def choices(active: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "options": OPERATIONS} for name in active]


def test_a_cell_has_its_nodes_and_an_arc_for_every_edge() -> None:
    (cell,) = draw_cells(choices(BENCHMARK), BENCHMARK, "nasbench201")
    assert [node.label for node in cell.nodes] == ["in", "1", "2", "out"]
    assert [(arc.title, arc.kind) for arc in cell.arcs] == [
        ("0->1 = nor_conv_3x3", "operation"),
        ("0->2 = none", "none"),
        ("1->2 = skip_connect", "skip"),
        ("0->3 = skip_connect", "skip"),
        ("1->3 = nor_conv_3x3", "operation"),
        ("2->3 = nor_conv_3x3", "operation"),
    ]
    assert len({arc.hue for arc in cell.arcs}) == 3
    assert not cell.rails


def test_no_two_labels_of_a_full_cell_meet() -> None:
    for num in (4, 9):
        active = {f"{a}->{b}": "nor_conv_3x3" for b in range(1, num) for a in range(b)}
        (cell,) = draw_cells(choices(active), active, "own")
        places = {(arc.x, arc.y) for arc in cell.arcs}
        assert len(places) == len(cell.arcs)
        assert all(0 < arc.y < cell.height for arc in cell.arcs)


def test_cells_of_darts_have_two_inputs_and_an_output_of_all_nodes() -> None:
    active = {
        "normal.0->2": "sep_conv_3x3",
        "normal.1->2": "sep_conv_3x3",
        "normal.3": "0,2",
        "normal.0->3": "skip_connect",
        "normal.2->3": "sep_conv_3x3",
        "reduce.0->2": "max_pool_3x3",
    }
    normal, reduce = draw_cells(choices(active), active, "darts")
    assert (normal.name, reduce.name) == ("normal", "reduce")
    assert [node.label for node in normal.nodes] == ["c(k−2)", "c(k−1)", "2", "3", "concat"]
    assert len(normal.arcs) == 4
    assert len(normal.rails) == 3  # down from two nodes, and along to the output


def test_choices_that_are_no_edges_draw_nothing() -> None:
    active = {"stages.0.0": "shuffle_3x3", "width": 16, "3->1": "none"}
    assert draw_cells([{"name": "width", "options": [16]}], active, "shufflenet") == []
