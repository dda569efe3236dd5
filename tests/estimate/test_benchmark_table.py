from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from onepath import spaces
from onepath.errors import ConfigurationError, DataError, InfeasibleError, SpaceError
from onepath.estimate import TableEstimator
from onepath.search import Evolution, FeasibleSet, RandomSearch, RegularizedEvolution
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace([Choice("a", ["x", "y"]), Choice("b", ["x", "y", "z"])])
MACRO = spaces.build("nasbench-macro", num_classes=10, width=0.25).space


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def parquet(tmp_path: Path, **columns: list) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def searched(algorithm, truth: TableEstimator, feasible: FeasibleSet) -> list[float]:
    """The accuracies of all that was evaluated, in order."""
    found: list[float] = []
    while proposals := algorithm.ask(feasible):
        asked = [proposal.architecture for proposal in proposals]
        scores = [truth.estimate(architecture).accuracy for architecture in asked]
        algorithm.tell(asked, scores)
        found += scores
    return found


def test_reads_csv_and_parquet_alike(tmp_path: Path) -> None:
    rows = [("0,0", 70.5), ("1,2", 80.25), ('{"a": "x", "b": "y"}', 60)]
    lines = ['"{}",{},9'.format(text.replace('"', '""'), accuracy) for text, accuracy in rows]
    texts, accuracies = zip(*rows, strict=True)
    for path in (
        written(tmp_path, "\n".join(["arch,test_acc,valid_acc", *lines, ""])),
        parquet(tmp_path, arch=list(texts), test_acc=list(map(float, accuracies)), valid_acc=[9.0] * 3),
    ):
        truth = TableEstimator(SPACE, path)
        assert (truth.architecture_column, truth.accuracy_column, len(truth)) == ("arch", "test_acc", 3)
        assert truth.accuracies.tolist() == [70.5, 80.25, 60.0]
        assert [str(architecture) for architecture in truth.architectures] == ["0,0", "1,2", "0,1"]
        estimate = truth.estimate(SPACE.parse("1,2"))
        assert (estimate.accuracy, estimate.loss, estimate.num_validation) == (80.25, math.inf, 0)
        other = TableEstimator(SPACE, path, accuracy_column="valid_acc")
        assert other.estimate(SPACE.parse("1,2")).accuracy == 9.0


def test_lists_of_indices_are_architectures(tmp_path: Path) -> None:
    truth = TableEstimator(SPACE, parquet(tmp_path, cell=[[0, 2], [1, 0]], accuracy=[1, 2]))
    assert [str(architecture) for architecture in truth.architectures] == ["0,2", "1,0"]


def test_architectures_of_one_stand_alone_form_share_a_row(tmp_path: Path) -> None:
    truth = TableEstimator(MACRO, written(tmp_path, "architecture,accuracy\n22101220,91\n22101202,91\n"))
    assert truth.estimate(MACRO.parse("22110220")).accuracy == 91
    assert MACRO.parse("22110202") in truth
    assert MACRO.parse("22110022") not in truth
    rows = MACRO.matrix([MACRO.parse(text) for text in ("22110202", "22111220")])
    assert truth.is_known(rows).tolist() == [True, False]


def test_rows_that_are_one_network_keep_their_own_accuracies(tmp_path: Path) -> None:
    text = "architecture, accuracy\n22101220, 91\n22110202, 92\n22101220, 91\n"
    truth = TableEstimator(MACRO, written(tmp_path, text))
    known = {"22101220": 91, "22110202": 92, "22101202": 91.5, "22110220": 91.5}
    for name, accuracy in known.items():
        assert truth.estimate(MACRO.parse(name)).accuracy == accuracy
    with pytest.raises(SpaceError, match="of this space"):
        truth.estimate(SPACE.parse("0,0"))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("arch,score\n00000000,1\n", ConfigurationError, "accuracy_column must be given .* arch, score"),
        ("name,accuracy\n00000000,1\n", ConfigurationError, "architecture_column must be given"),
        ("", ConfigurationError, "its columns are: none"),
        ("arch,accuracy\n00000000,1\n0000,1\n", DataError, "row 1 is not: .*8 option indices"),
        ("arch,accuracy\n00000000,\n", DataError, "finite accuracy, but row 0 has ''"),
        ("arch,accuracy\n00000000,nan\n", DataError, "finite accuracy"),
        ("arch,accuracy\n0,0,0,0,0,0,0,0,1\n", DataError, "2 fields, but row 0 has 9"),
        ('arch,accuracy\n"0000,1\n', DataError, "must be readable"),
        (
            'arch,accuracy\n22101220,91\n"2,2,1,0,1,2,2,0",92\n',
            DataError,
            r"row 0 \(22101220\) has 91.0 and row 1 \(2,2,1,0,1,2,2,0\) 92.0",
        ),
    ],
)
def test_wrong_tables_are_one_line(tmp_path: Path, text: str, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        TableEstimator(MACRO, written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_wrong_files_and_columns_are_one_line(tmp_path: Path) -> None:
    path = parquet(tmp_path, architecture=[22010220], accuracy=[1.0])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    for table, arguments, kind, message in (
        (path, {}, DataError, "must be text .* 22010220"),
        (path, {"accuracy_column": "test"}, ConfigurationError, "'test' is not. .* architecture, accuracy"),
        (path, {"accuracy_column": "architecture", "architecture_column": "x"}, ConfigurationError, "'x'"),
        (broken, {}, DataError, "must be readable"),
        (tmp_path / "absent.csv", {}, DataError, "must be readable"),
        (tmp_path / "table.xlsx", {}, ConfigurationError, ".parquet or a .csv"),
    ):
        with pytest.raises(kind, match=message) as error:
            TableEstimator(MACRO, table, **arguments)
        assert "\n" not in str(error.value)


def test_a_missing_architecture_is_one_line(tmp_path: Path) -> None:
    truth = TableEstimator(MACRO, written(tmp_path, "arch,accuracy\n22010220,91\n"))
    with pytest.raises(DataError, match="22222222 is not among the 1 rows") as error:
        truth.estimate(MACRO.parse("22222222"))
    assert "\n" not in str(error.value)


def test_a_search_under_the_limit_stays_in_the_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = SPACE.enumerate_matrix()[rng.permutation(6)[:4]]
    lines = [f'"{architecture}",{50 + row}' for row, architecture in enumerate(SPACE.architectures(known))]
    truth = TableEstimator(SPACE, written(tmp_path, "\n".join(["arch,accuracy", *lines])))
    feasible = FeasibleSet(SPACE, [truth.limit()])
    found = searched(RandomSearch(SPACE, seed=0, num=100), truth, feasible)
    assert sorted(found) == [50, 51, 52, 53]
    with pytest.raises(DataError, match="limit"):
        searched(RandomSearch(SPACE, seed=0, num=100), truth, FeasibleSet(SPACE))
    absent = TableEstimator(SPACE, written(tmp_path, "arch,accuracy\n"))
    with pytest.raises(InfeasibleError):
        searched(RandomSearch(SPACE, seed=0, num=10), absent, FeasibleSet(SPACE, [absent.limit()]))


def test_a_search_finds_the_few_rows_of_a_large_space(tmp_path: Path) -> None:
    space = SearchSpace([Choice(f"blocks.{block}", list("abcdef")) for block in range(19)])
    rows = space.architectures(space.sample(12, np.random.default_rng(0)))
    lines = [f'"{architecture}",{place}' for place, architecture in enumerate(rows)]
    truth = TableEstimator(space, written(tmp_path, "\n".join(["arch,accuracy", *lines])))
    feasible = FeasibleSet(space, [truth.limit()])
    found = searched(RegularizedEvolution(space, num=100, population=5), truth, feasible)
    assert sorted(found) == list(range(12))


def test_a_limit_lists_all_that_a_table_knows(tmp_path: Path) -> None:
    truth = TableEstimator(MACRO, written(tmp_path, "arch,accuracy\n22101220,91\n"))
    drawn = FeasibleSet(MACRO, [truth.limit()]).sample(200, np.random.default_rng(0))
    names = {MACRO.format(architecture) for architecture in MACRO.architectures(drawn)}
    assert names == {"22101220", "22101202", "22110220", "22110202"}


def test_the_published_tables_are_read_as_they_are(shared_data: Path) -> None:
    truth = TableEstimator(MACRO, shared_data / "nasbench_macro_cifar10_half.parquet")
    assert (len(truth), truth.accuracy_column) == (3280, "test_accuracy")
    cells = spaces.build("nasbench201", num_classes=10, width=0.25, num_cells=1).space
    path = shared_data / "nasbench201_cifar10.parquet"
    truth = TableEstimator(cells, path)
    assert len(truth) == 15_625
    skips = cells.architecture(dict.fromkeys(cells.names, "skip_connect"))
    assert truth.estimate(skips).accuracy == pytest.approx(54.297, abs=5e-4)
    assert truth.accuracies.max() == pytest.approx(94.373, abs=5e-4)
    # The closed form: the expected best of 100 different architectures is 93.85.
    best = [
        max(searched(RandomSearch(cells, seed=seed, num=100), truth, FeasibleSet(cells)))
        for seed in range(40)
    ]
    assert np.mean(best) == pytest.approx(93.85, abs=4 * np.std(best) / math.sqrt(40))


def test_evolution_beats_random_search_on_a_partial_table(shared_data: Path) -> None:
    truth = TableEstimator(MACRO, shared_data / "nasbench_macro_cifar10_half.parquet")
    feasible = FeasibleSet(MACRO, [truth.limit()])
    random, evolved, aged = (
        np.mean([max(searched(make(seed), truth, feasible)) for seed in range(4)])
        for make in (
            lambda seed: RandomSearch(MACRO, seed=seed, num=200),
            lambda seed: Evolution(MACRO, seed=seed, population=20, generations=9),
            lambda seed: RegularizedEvolution(MACRO, seed=seed, population=20, num=200),
        )
    )
    assert max(random, evolved, aged) <= truth.accuracies.max()
    assert min(evolved, aged) > random


@pytest.mark.parametrize(
    "value",
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "100.5",
        "1e13",
        "",
        "x",
        "1_0",
        "١",
        "0x5",
        "\x1b[31m",
        "9" * 400,
        "true",
    ],
)
def test_an_accuracy_that_is_none_is_refused_with_its_row(tmp_path: Path, value: str) -> None:
    path = written(tmp_path, f'arch,accuracy\n"0,0",91\n"1,1",{value}\n')
    with pytest.raises(DataError, match=r"accuracy.*but row 1 has") as error:
        TableEstimator(SPACE, path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "values", [[True, False], [[1.0], [2.0]], [b"1", b"2"], [None, 1.0], [10**18, 1], [-0.1, 1.0]]
)
def test_a_column_of_something_else_is_refused(tmp_path: Path, values: list) -> None:
    with pytest.raises(DataError, match=r"accuracy.*but row 0 has"):
        TableEstimator(SPACE, parquet(tmp_path, arch=["0,0", "1,1"], accuracy=values))


def test_another_column_may_be_of_any_numbers(tmp_path: Path) -> None:
    truth = TableEstimator(
        SPACE, written(tmp_path, 'arch,minus_ms\n"0,0",-5e2\n'), accuracy_column="minus_ms"
    )
    assert truth.accuracies.tolist() == [-500.0]


def test_a_name_of_two_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several are accuracy"):
        TableEstimator(SPACE, written(tmp_path, 'arch,accuracy,accuracy\n"0,0",91,92\n'))


@pytest.mark.parametrize(
    "name", ["pipe.csv", "pipe.parquet", "folder.csv", "large.csv", "large.parquet", "null.csv"]
)
def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    elif name.startswith("folder"):
        path.mkdir()
    elif name.startswith("large"):
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"must be a file|must have at most"):
        TableEstimator(SPACE, path)
