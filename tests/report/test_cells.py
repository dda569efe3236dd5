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


def test_inputs_and_operations_of_enas_are_edges_and_loose_ends_the_output() -> None:
    active = {}
    for node, (first, second) in {2: ("0", "1"), 3: ("0", "0"), 4: ("2", "1")}.items():
        for side, source, operation in (("first", first, "sep_conv_3x3"), ("second", second, "max_pool_3x3")):
            active[f"normal.{node}.{side}.input"] = source
            active[f"normal.{node}.{side}.operation"] = operation
    choices = [{"name": name, "options": [option]} for name, option in active.items()]
    (cell,) = draw_cells(choices, active, "enas-micro")
    assert cell.name == "normal"
    assert [node.label for node in cell.nodes] == ["c(k−2)", "c(k−1)", "2", "3", "4", "concat"]
    assert len(cell.arcs) == 5  # the two operations of node 3 read one state
    assert sum("+" in arc.title for arc in cell.arcs) == 1
    ends = [rail for rail in cell.rails if "H" not in rail]
    assert len(ends) == 2  # nodes 3 and 4


def test_an_input_that_nothing_reads_is_in_the_output() -> None:
    active = {"normal.2.first.input": "1", "normal.2.first.operation": "skip_connect"}
    choices = [{"name": name, "options": [option]} for name, option in active.items()]
    (cell,) = draw_cells(choices, active, "enas-micro")
    assert [node.label for node in cell.nodes] == ["c(k−2)", "c(k−1)", "2", "concat"]
    assert len([rail for rail in cell.rails if "H" not in rail]) == 2


def test_skip_connections_that_are_not_there_are_not_drawn() -> None:
    active = {"0->1": "conv_3x3", "1->2": "conv_5x5", "0->2": "none", "2->3": "conv_3x3", "0->3": "skip"}
    choices = [{"name": name, "options": [option]} for name, option in active.items()]
    (cell,) = draw_cells(choices, active, "enas-macro")
    assert len(cell.arcs) == 4
