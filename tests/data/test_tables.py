"""Tables: what becomes of numbers, categories and gaps, and which tables are refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import onepath as op
from onepath.data import DatasetTask
from onepath.data.tables import read_csv, table_task
from onepath.errors import DataError

ROWS = 50
RNG = np.random.default_rng(0)
COLUMNS: dict[str, list[Any]] = {
    "size": RNG.normal(5, 2, ROWS).tolist(),
    "town": [("Berlin", "Köln")[row % 2] for row in range(ROWS)],
    "price": RNG.normal(100, 20, ROWS).tolist(),
}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
    return path


def table(**options: Any) -> DatasetTask:
    given = {"target": "price", "kind": None, "seed": 0, **options}
    columns = given.pop("columns", COLUMNS)
    return table_task("houses", columns, given.pop("test", None), **given)


def test_numbers_are_standardised_and_categories_are_zeros_and_ones() -> None:
    task = table(test=COLUMNS)
    assert (task.input_shape, task.num_classes, task.metric_name) == ((3,), 1, "rmse")
    inputs = torch.cat(
        [batch.inputs for split in ("train", "validation") for batch in task.batches(split, 64)]
    )
    assert inputs[:, 0].mean().abs() < 1e-6
    assert inputs[:, 0].std(correction=0) == pytest.approx(1, abs=1e-5)
    assert torch.equal(inputs[:, 1:].sum(1), torch.ones(ROWS))
    assert "'price' is read for regression, a guess" in task.notes[0]
    assert task.preprocessing is None  # categories have no raw number


def test_a_table_of_numbers_alone_says_how_it_is_prepared() -> None:
    task = table(columns={name: COLUMNS[name] for name in ("size", "price")}, test=COLUMNS)
    known = task.preprocessing
    assert known is not None
    assert known.mean[0] == pytest.approx(np.mean(COLUMNS["size"]))
    assert torch.allclose(task.raw_inputs("test", 3)[:, 0], torch.tensor(COLUMNS["size"][:3]), atol=1e-5)
    assert torch.allclose(
        known.normalise(task.raw_inputs("test", 3)), task.example_inputs("test", 3), atol=1e-5
    )


def test_gaps_are_filled_and_said() -> None:
    columns = {**COLUMNS, "size": [None, *COLUMNS["size"][1:]], "town": ["", *COLUMNS["town"][1:]]}
    task = table(columns=columns, test=columns)
    assert "1 missing values of column 'size' are filled with its mean." in task.notes
    assert "1 missing values of column 'town' are no category." in task.notes
    assert torch.equal(task.example_inputs("test", 1), torch.zeros(1, 3))


def test_classes_are_named_in_the_order_of_numbers_or_letters() -> None:
    grades = {**COLUMNS, "grade": [(10, 9, 1)[row % 3] for row in range(ROWS)]}
    task = table(columns=grades, target="grade")
    assert (task.class_names, task.metric_name) == (("1", "9", "10"), "accuracy")
    towns = table(target="town")
    assert towns.class_names == ("Berlin", "Köln")
    assert table(columns=grades, target="grade", kind="regression").metric_name == "rmse"


def test_a_csv_and_its_test_set(tmp_path: Path) -> None:
    path = write(tmp_path / "houses.csv", COLUMNS)
    task = op.load_data(path, target="price")
    assert (task.name, task.num_examples("test")) == ("houses", 10)
    own = op.load_data(path, target="price", test=write(tmp_path / "test.csv", COLUMNS))
    assert own.num_examples("test") == ROWS
    assert read_csv(path)["town"][:2] == ["Berlin", "Köln"]


def test_a_data_frame_is_read_by_its_columns() -> None:
    class Frame:
        columns = tuple(COLUMNS)
        shape = (ROWS, 3)

        def __getitem__(self, name: str) -> list[Any]:
            return COLUMNS[name]

    task = op.load_data(Frame(), target="price")
    assert task.fingerprint == table().fingerprint
    assert op.load_data((Frame(), Frame()), target="price").num_examples("test") == ROWS


def test_a_csv_of_images_and_labels(tmp_path: Path) -> None:
    names = []
    for number in range(20):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
        names.append(f"{number}.png")
    listed = {"path": names, "label": [("cat", "dog")[number % 2] for number in range(20)]}
    task = op.load_data(write(tmp_path / "list.csv", listed))
    assert (task.class_names, task.input_shape) == (("cat", "dog"), (1, 8, 8))
    with pytest.raises(DataError, match=r"every image that .* lists must exist, but .*absent\.png does not"):
        op.load_data(write(tmp_path / "other.csv", {**listed, "path": ["absent.png", *names[1:]]}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "cost"}, "target must be a column of the table, but got 'cost'"),
        ({"target": None}, "target must be a column of the table, but got None"),
        ({"kind": "images"}, "kind of a table must be classification or regression, but got 'images'"),
        ({"columns": {"price": [1.0, 2.0]}}, "must have 1 to 10,000 columns beside the target"),
        ({"test": {"price": [1.0], "town": ["x"]}}, "test rows must have the columns of the training rows"),
        ({"columns": {**COLUMNS, "price": [None] * ROWS}, "kind": "regression"}, "must be finite numbers"),
        ({"target": "town", "test": {**COLUMNS, "town": ["Bonn"] * ROWS}}, "classes of test rows must occur"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a line of different names and rows below it"),
        ("a,b\n", "and 0 rows"),
        ("a,a\n1,2\n", "different names"),
        ("a,b\n1,2\n3\n", "every row of a .csv must have 2 cells, but row 3 of .* has 1"),
    ],
)
def test_a_csv_that_is_none_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="must be text with a line of names"):
        read_csv(tmp_path / "x.csv")
