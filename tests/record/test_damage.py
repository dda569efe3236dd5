"""What something else has changed in a run directory is told in one line, and never taken for a result."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from onepath.errors import RunDirectoryError
from onepath.record import (
    CurvePoint,
    EstimateStore,
    NetworkRow,
    RunDirectory,
    RunRecord,
    StageRow,
    Store,
    TrainingCheckpoint,
    TrialRow,
    load_tensors,
    save_tensors,
)
from onepath.record.rows import checked

TRIAL = TrialRow(0, "2,1,0", 0, "random", 0.5, 0.25, {"macs": 10, "params": 5}, 0.5)
NETWORK = NetworkRow("winner", "scratch", "2,1,0", 3, {"macs": 10, "params": 20}, 0.5, 0.75, 0.5, 1.0)
POINT = CurvePoint("supernet", 0, 10, 1.0, 2.0, 0.5, 0.1, 3.0)
COLUMNS = {
    "trials": "number architecture generation origin accuracy loss costs seconds",
    "networks": "role start architecture seed costs inherited_validation retrained_validation retrained_test "
    "seconds",
    "curves": "curve point update_number epoch loss metric learning_rate seconds",
    "stages": "stage seconds done record",
}
CELLS = [(table, column) for table, columns in COLUMNS.items() for column in columns.split()]
OTHERS = [b"\x00\xff", "../../../x", "[1]", 7.5, -1]


def directory(path: Path) -> None:
    with RunDirectory(path, create=True) as made:
        made.begin({"seed": 0, "data": "digits"}, {"name": "digits"})
        made.store.add_trial(TRIAL)
        made.store.add_trial(TrialRow(1, "0,0,0", 0, "random", 0.5, 0.25, {"macs": 10, "params": 5}, 0.5))
        made.store.put_network(NETWORK)
        made.store.add_point(POINT)
        made.store.put_stage(StageRow("search", 2.0, True, {"winner": "2,1,0"}))
        made.write_json("result.json", {"seed": 0})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "run"
    directory(path)
    return path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def change(run: Path, *statements: str) -> None:
    connection = sqlite3.connect(run / "trials.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def assert_damaged(run: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"trials\.sqlite must be") as caught:
        RunRecord.load(run)
    assert "\n" not in str(caught.value)


def changed_cells(run: Path, table: str, column: str) -> Iterator[object]:
    """Put each other value into the column, as far as SQLite lets it; the file is as before afterwards."""
    file = run / "trials.sqlite"
    before = file.read_bytes()
    for value in [*OTHERS, None]:
        connection = sqlite3.connect(file)
        try:
            row = f"(SELECT min(rowid) FROM {table})"
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = {row}", (value,))
            connection.commit()
        except sqlite3.IntegrityError:
            continue
        finally:
            connection.close()
        yield value
        file.write_bytes(before)


def test_a_run_that_nobody_changed(run: Path) -> None:
    record = RunRecord.load(run)
    assert (record.trials[0], record.networks, record.result) == (TRIAL, [NETWORK], {"seed": 0})
    with RunDirectory(run) as again:
        assert again.facts() == {"name": "digits"}


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_every_other_value_of_every_cell(run: Path, table: str, column: str) -> None:
    tried = 0
    for _ in changed_cells(run, table, column):
        assert_damaged(run)
        tried += 1
    assert tried >= 1


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_without_sums_a_cell_has_its_type_at_least(run: Path, table: str, column: str) -> None:
    """As in a store from before there were sums, or one that was made to deceive."""
    change(run, "DROP TABLE digests")
    for _ in changed_cells(run, table, column):
        with contextlib.suppress(RunDirectoryError):
            record = RunRecord.load(run)
            assert all(trial == checked(TrialRow, tuple(vars(trial).values())) for trial in record.trials)
            assert all(
                row.role == "winner" and row.start in ("scratch", "inherited") for row in record.networks
            )
            assert all(isinstance(stage["record"], dict) for stage in record.stages.values())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM trials",
        "DELETE FROM trials WHERE number = 1",
        "DELETE FROM networks",
        "DELETE FROM curves",
        "DELETE FROM stages WHERE stage = 'data'",
        "DELETE FROM stages",
        "DROP TABLE trials",
        "DROP TABLE stages",
        "INSERT INTO trials VALUES (2, '1', 0, 'random', 1.0, 0.0, '{}', 0.0)",
        "UPDATE trials SET accuracy = accuracy + 1e-12",
        "UPDATE trials SET number = number + 10",
        "UPDATE stages SET done = 0",
        "UPDATE stages SET record = '{}'",
        "UPDATE digests SET digest = 'x' WHERE part = 'curves'",
    ],
)
def test_rows_that_were_changed_deleted_or_added(run: Path, statement: str) -> None:
    change(run, statement)
    assert_damaged(run)


def test_an_emptied_or_lost_store_is_no_new_run(run: Path) -> None:
    (run / "trials.sqlite").write_bytes(b"")
    assert_damaged(run)
    with RunDirectory(run) as opened, pytest.raises(RunDirectoryError, match=r"trials\.sqlite must be"):
        opened.facts()
    (run / "trials.sqlite").unlink()
    with RunDirectory(run) as opened, pytest.raises(RunDirectoryError, match=r"trials\.sqlite must be"):
        opened.facts()


def test_a_store_without_sums_gets_them(run: Path) -> None:
    change(run, "DROP TABLE digests")
    assert RunRecord.load(run).trials[0] == TRIAL  # a reader changes nothing
    with RunDirectory(run) as opened:
        assert opened.facts() == {"name": "digits"}
        opened.store.put_network(NETWORK)
    assert len(RunRecord.load(run).trials) == 2
    change(run, "UPDATE trials SET costs = '{\"macs\": 11}'")
    assert_damaged(run)


def test_an_edited_configuration(run: Path) -> None:
    (run / "config.yaml").write_text("seed: 1\ndata: digits\n")
    for load in (lambda: RunRecord.load(run), lambda: open_facts(run)):
        with pytest.raises(RunDirectoryError, match=r"config\.yaml must be as the run wrote it"):
            load()


def open_facts(run: Path) -> None:
    with RunDirectory(run) as opened:
        opened.facts()


@pytest.mark.parametrize("content", ['{"seed": 1}', "{", '{"data": [1]}', "[]"])
def test_a_result_that_was_changed_is_left_out(run: Path, content: str) -> None:
    (run / "result.json").write_text(content)
    assert RunRecord.load(run).result == {}
    with RunDirectory(run) as opened:
        assert not opened.is_as_written("result.json")


def test_a_reader_undoes_what_a_killed_writer_began(run: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(run / "trials.sqlite", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    for number in range(2, 400):
        connection.execute(
            f"INSERT INTO trials VALUES ({number}, '{'x' * 500}{number}', 0, '', 0, 0, '{{}}', 0)"
        )
    shutil.copytree(run, tmp_path / "killed")
    connection.close()
    assert (tmp_path / "killed" / "trials.sqlite-journal").stat().st_size > 0
    assert len(RunRecord.load(tmp_path / "killed").trials) == 2


WRITER = """
import sys, time
from pathlib import Path
from onepath.record import RunDirectory, TrialRow
with RunDirectory(Path(sys.argv[1])) as directory:
    for number in range(2, 100_000):
        directory.store.add_trial(TrialRow(number, str(number), 0, "random", 0.5, 0.5, {"macs": 1}, 0.0))
        if number == 3:
            print("at work", flush=True)
        time.sleep(0.002)  # faster than any evaluation
"""


def test_a_run_at_work_is_read(run: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(run)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"at work\n"
            seen = [len(RunRecord.load(run).trials)]
            while len(seen) < 20 or seen[0] == seen[-1]:
                seen.append(len(RunRecord.load(run).trials))
        finally:
            process.kill()
    assert 4 <= seen[0] < seen[-1]
    assert seen == sorted(seen)


def flips(content: bytes) -> Iterator[bytes]:
    for place in range(0, len(content), max(1, len(content) // 40)):
        yield content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def test_flipped_bits_of_weights(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    digest = save_tensors(file, {"a": torch.arange(300.0)})
    assert torch.equal(load_tensors(file, digest)["a"], torch.arange(300.0))
    for content in flips(file.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(RunDirectoryError, match="damaged"):
            load_tensors(file, digest)


def test_flipped_bits_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "c.training.pt")
    checkpoint.save({"weights": torch.arange(300.0)})
    for content in flips(checkpoint.path.read_bytes()):
        checkpoint.path.write_bytes(content)
        with pytest.raises(RunDirectoryError, match="damaged"):
            checkpoint.load()


def test_the_checkpoint_of_another_training(tmp_path: Path) -> None:
    one, other = (TrainingCheckpoint(tmp_path / f"{name}.training.pt") for name in ("one", "other"))
    one.save({"update": 1})
    shutil.copyfile(one.path, other.path)
    with pytest.raises(RunDirectoryError, match=r"other\.training\.pt must be"):
        other.load()
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-moved")
    assert TrainingCheckpoint(tmp_path.parent / f"{tmp_path.name}-moved" / "one.training.pt").load() == {
        "update": 1
    }


def test_a_checkpoint_from_before_there_were_digests(tmp_path: Path) -> None:
    torch.save({"update": 1}, tmp_path / "c.pt")
    assert TrainingCheckpoint(tmp_path / "c.pt").load() == {"update": 1}


@pytest.mark.parametrize("column", ["numbers", "seconds", "architecture"])
def test_estimates_of_other_types(tmp_path: Path, column: str) -> None:
    path = tmp_path / "estimates.sqlite"
    with EstimateStore(path) as store:
        store.put("a", "0,1", {"accuracy": 0.5}, 1.0)
    for value in [b"\xff", "[1]", "{", '{"accuracy": "x"}', "x"]:
        connection = sqlite3.connect(path)
        connection.execute(f"UPDATE estimates SET {column} = ?", (value,))
        connection.commit()
        connection.close()
        with EstimateStore(path) as store, contextlib.suppress(RunDirectoryError):
            assert list(store.read("a").values()) == [{"accuracy": 0.5}]
            assert list(store.seconds("a").values()) == [1.0]


def as_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def as_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def as_link(path: Path) -> None:
    victim = path.parent.parent / "victim"
    victim.write_text("precious")
    path.unlink(missing_ok=True)
    path.symlink_to(victim)


OURS = [
    ".lock",
    ".workers.lock",
    "config.yaml",
    "trials.sqlite",
    "trials.sqlite-journal",
    "result.json",
    "model.onnx",
]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("place", [as_pipe, as_folder, as_link])
def test_links_pipes_and_folders_in_place_of_our_files(
    run: Path, name: str, place: Callable[[Path], None]
) -> None:
    place(run / name)
    with pytest.raises(RunDirectoryError) as caught:
        RunDirectory(run)
    assert "\n" not in str(caught.value)
    assert not (run.parent / "victim").exists() or (run.parent / "victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["checkpoints", "limit-2ms"])
def test_folders_that_lead_out(run: Path, name: str) -> None:
    shutil.rmtree(run / name, ignore_errors=True)
    (run.parent / "elsewhere").mkdir()
    (run / name).symlink_to(run.parent / "elsewhere", target_is_directory=True)
    with pytest.raises(RunDirectoryError, match="inside the run directory"):
        RunDirectory(run)


def test_the_directory_itself_may_be_a_link(run: Path) -> None:
    (run.parent / "link").symlink_to(run, target_is_directory=True)
    with RunDirectory(run.parent / "link") as opened:
        assert opened.facts() == {"name": "digits"}


def test_a_pipe_does_not_hang_a_reader(run: Path) -> None:
    as_pipe(run / "config.yaml")
    with pytest.raises(RunDirectoryError, match="plain file"):
        RunRecord.load(run)


@pytest.mark.parametrize("name", ["../../../x", "a/b", "", ".", "a\0b", "x" * 300, "a.b"])
def test_names_do_not_become_paths(run: Path, name: str) -> None:
    with RunDirectory(run) as opened:
        for path in (opened.weights_path, opened.checkpoint):
            with pytest.raises(RunDirectoryError, match="must have a name of letters"):
                path(name)


@pytest.mark.parametrize("role", ["../../../x", "baseline-", "baseline-x", "winner ", "Winner"])
def test_roles_are_ours(role: str) -> None:
    with pytest.raises(ValueError, match="role"):
        checked(NetworkRow, (role, *tuple(vars(NETWORK).values())[1:]))


@pytest.mark.parametrize("rest", [b"", b"x"])
def test_a_process_that_ended_before_its_configuration_leaves_nothing_foreign(
    tmp_path: Path, rest: bytes
) -> None:
    with Store(tmp_path / "trials.sqlite") as store:
        store.put_stage(StageRow("data", done=True, record={"name": "old"}))
    if not rest:
        (tmp_path / "trials.sqlite").write_bytes(rest)
    with RunDirectory(tmp_path, create=True) as opened:
        opened.begin({"seed": 0}, {"name": "new"})
    with RunDirectory(tmp_path) as opened:
        assert opened.facts() == {"name": "new"}


def test_a_foreign_store_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "trials.sqlite")
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    before = (tmp_path / "trials.sqlite").read_bytes()
    with pytest.raises(RunDirectoryError, match=r"holds trials\.sqlite and no config\.yaml"):
        RunDirectory(tmp_path, create=True)
    assert (tmp_path / "trials.sqlite").read_bytes() == before
