from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from onepath import cost, spaces
from onepath.errors import SpaceError
from onepath.nn.alignment import align_candidates, widest_path

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def paper():
    return spaces.build("nasbench-macro", num_classes=10)


@pytest.fixture(scope="module")
def table(shared_data: Path) -> dict[str, list]:
    import pyarrow.parquet as pq

    return pq.read_table(shared_data / "nasbench_macro_cifar10_half.parquet").to_pydict()


def test_every_row_has_the_published_costs(paper, table) -> None:
    matrix = paper.space.matrix([paper.space.parse(text) for text in table["architecture"]])
    assert len(matrix) == 3280
    for kind in ("macs", "params"):
        assert cost.table(paper, SHAPE, kind).costs(paper.space, matrix).tolist() == table[kind]


def check_counts(supernet, table, rows) -> None:
    for row in rows:
        architecture = supernet.space.parse(table["architecture"][row])
        assert cost.macs(supernet, architecture, SHAPE) == table["macs"][row]
        assert cost.params(supernet, architecture) == table["params"][row]


def test_networks_themselves_have_the_published_costs(paper, table) -> None:
    extremes = [np.argmin(table["macs"]), np.argmax(table["macs"]), np.argmin(table["params"])]
    check_counts(paper, table, [*np.random.default_rng(0).choice(3280, 12, replace=False), *extremes])


@pytest.mark.slow
def test_all_networks_themselves_have_the_published_costs(paper, table) -> None:
    check_counts(paper, table, range(3280))


def test_rows_of_one_stand_alone_form_are_one_network(paper, table) -> None:
    space = paper.space
    forms = [space.standalone_form(space.parse(text)) for text in table["architecture"]]
    results: dict = {}
    for row, form in enumerate(forms):
        results.setdefault(form, set()).add(
            tuple(table[name][row] for name in ("acc_s0", "acc_s1", "acc_s2", "params", "macs"))
        )
    assert all(len(found) == 1 for found in results.values())
    assert (len(forms), len(results)) == (3280, 2510)


def test_stand_alone_forms(paper) -> None:
    space = paper.space
    for text, form in (("00011110", "00011110"), ("01001002", "01010020"), ("02012202", "02012220")):
        assert space.format(space.standalone_form(space.parse(text))) == form
    forms = {space.standalone_form(architecture) for architecture in space.enumerate()}
    assert len(forms) == 9 * 21 * 21
    assert all(space.standalone_form(form) == form for form in forms)


def test_moving_an_identity_inside_a_stage_changes_nothing_in_a_network() -> None:
    supernet = spaces.build("nasbench-macro", num_classes=10, width=0.25).eval()
    blocks = supernet.module.stages[1]
    x = torch.randn(2, 3, 32, 32)
    first, last = (supernet.space.parse(text) for text in ("11120111", "11102111"))
    with torch.no_grad():
        assert not torch.equal(supernet(x, first), supernet(x, last))
        blocks[2].candidates[2].load_state_dict(blocks[1].candidates[2].state_dict())
        assert torch.equal(supernet(x, first), supernet(x, last))


def test_published_strings(paper) -> None:
    best = paper.space.parse("22212220")
    assert best == paper.space.parse("2,2,2,1,2,2,2,0")
    assert best.options["stages.2.2"] == "identity"
    assert paper.space.format(best) == "22212220"
    assert paper.space.size == 6561
    for text in ("2221222", "222122203", "33333333"):
        with pytest.raises(SpaceError):
            paper.space.parse(text)


def test_other_candidates_start_from_the_small_bottleneck() -> None:
    supernet = spaces.build("nasbench-macro", num_classes=10, width=0.25).eval()
    start = widest_path(supernet)
    assert supernet.space.format(start) == "11111111"
    align_candidates(supernet, start)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected, wide = supernet(x, start), supernet(x, supernet.space.parse("22222222"))
    assert torch.allclose(wide, expected, rtol=1e-3, atol=1e-5)


def test_identity_is_one_where_the_shape_is_kept(paper) -> None:
    kinds = [type(block.candidates[0]) for stage in paper.module.stages for block in stage]
    changing, keeping = nn.Sequential, nn.Identity
    assert kinds == [changing, keeping, changing, keeping, keeping, changing, keeping, keeping]
