"""The run directory: the names of its files, the lock on it, and its configuration."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.plain_yaml import read_yaml, write_yaml
from onepath.record.atomic import (
    TEMPORARY_SUFFIX,
    atomic_write_json,
    atomic_write_text,
    content_digest,
    damaged_error,
    file_digest,
    irregular_error,
    read_bytes,
    reason,
    sync_directory,
    write_error,
)
from onepath.record.checkpoint import TrainingCheckpoint
from onepath.record.estimates import ESTIMATES
from onepath.record.lock import DirectoryLock, WorkersLock, wait_for_workers
from onepath.record.rows import NAME, StageRow
from onepath.record.store import Store

CONFIG = "config.yaml"
TRIALS = "trials.sqlite"
RESULT = "result.json"
ARCHITECTURE = "architecture.json"
CHECKPOINTS = "checkpoints"
ONNX = "model.onnx"
PROGRAM = "model.pt2"
WEIGHTS = "model.safetensors"
REPORT = "report.html"
RANKING = "ranking.json"
RANKING_PAGE = "ranking.html"
LATENCY_TABLE = "latency-table.json"
LATENCY_PAGE = "latency-table.html"
LATENCY_PREDICTOR = "latency-predictor.safetensors"
LIMIT_FOLDERS = "limit-*"
_EVENTS = "events.out.tfevents."
DATA = "data"  # the stage row with the facts about the data
LOCK = ".lock"
WORKERS_LOCK = ".workers.lock"
# In the order in which `clear` deletes; it deletes the configuration last, so that a directory is recognised as a run
# directory until it is empty.
_FILES = (
    *(RESULT, REPORT, ONNX, PROGRAM, WEIGHTS, ARCHITECTURE, TRIALS, f"{TRIALS}-journal"),
    *(RANKING, RANKING_PAGE, ESTIMATES, f"{ESTIMATES}-journal"),
    *(LATENCY_TABLE, f"{LATENCY_TABLE}.part", LATENCY_PAGE, LATENCY_PREDICTOR),
    *(f"latency-predictor.{name}" for name in ("pairs.json", "report.json", "report.html")),
)
# Files that a stage writes without having computed anything that starting over would lose.
_WITHOUT_RESULTS = {TRIALS, f"{TRIALS}-journal", REPORT}
# Workers of a killed process end within milliseconds, unless their disk hangs.
WAIT_SECONDS = 10.0
_MOST_CONFIG_BYTES = 1 << 20


class RunDirectory:
    """A run directory that this process works on, locked until `close` or the end of a `with`.

    Args:
        path: path of the directory; created with its parents if `create` is true. It may be a link.
        create: whether a directory that is not a run directory yet may become one.

    Raises:
        DirectoryInUseError: another process works on the directory, or a worker of a process that has ended does.
        RunDirectoryError: the directory cannot be written; it is not a run directory and `create` is false; it holds
            files with the names of ours but no configuration, so that we did not write them; or one of our files or
            folders is a link out of the directory, or not a plain file or folder.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not (path / CONFIG).is_file():
            raise missing_error(path)
        self._refuse_links()
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        self._lock = DirectoryLock(path / LOCK)
        self._store: Store | None = None
        try:
            # Before anything else: workers of an earlier process may still be writing.
            wait_for_workers(path / WORKERS_LOCK, WAIT_SECONDS)
            self._refuse_foreign_files()
            self._remove_temporary_files()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store and release the directory."""
        self.close_store()
        self._lock.release()

    @property
    def store(self) -> Store:
        """The trial store, opened (and created if necessary) at first use."""
        if self._store is None:
            self._store = Store(self.path / TRIALS)
        return self._store

    def read_config(self) -> dict[str, Any] | None:
        """Return the resolved configuration, or None before it is written."""
        return read_config(self.path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration; from then on the directory is a run directory.

        The digest is stored before the file is written, so that the store always knows the digest of a configuration
        that is in the directory.

        Raises:
            ConfigurationError: the configuration is larger than `read_config` accepts.
        """
        text = write_yaml(dict(config))
        if len(text.encode()) > _MOST_CONFIG_BYTES:
            raise ConfigurationError(
                f"the options of a run must take at most {_MOST_CONFIG_BYTES:,} bytes, but they take "
                f"{len(text.encode()):,}; shorten the arguments of the space"
            )
        self.store.put_digest(CONFIG, content_digest(text.encode()))
        atomic_write_text(self.path / CONFIG, text)

    def begin(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Begin a run: store the facts about the data, then write the configuration; see `facts`."""
        self.store.put_stage(StageRow(DATA, done=True, record=dict(facts)))
        self.write_config(config)

    def facts(self) -> dict[str, Any]:
        """Return the facts about the data that the run began with.

        Raises:
            RunDirectoryError: the store has no facts, so it has lost its rows; or the configuration was edited.
        """
        row = self.store.stage(DATA)
        if not row.record:
            raise damaged_error(self.path / TRIALS)
        check_config(self.path, self.store.digests())
        return row.record

    def save_file_digest(self, name: str) -> None:
        """Store the digest of a file of the directory as it is now; do nothing if the file does not exist."""
        if (digest := file_digest(self.path / name)) is not None:
            self.store.put_digest(name, digest)

    def is_as_written(self, name: str) -> bool:
        """Return whether a file of the directory exists and is unchanged; one without a digest counts as unchanged."""
        digest = file_digest(self.path / name)
        return digest is not None and self.store.digests().get(name, digest) == digest

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the content of a JSON file of the directory, or None if the file is absent."""
        return read_json(self.path / name)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file of the directory, atomically, and store its digest."""
        atomic_write_json(self.path / name, content)
        self.save_file_digest(name)

    def checkpoint(self, name: str, every_seconds: float = 20.0) -> TrainingCheckpoint:
        """Return the checkpoint of an unfinished training, given the name of its curve."""
        return training_checkpoint(self.path, name, every_seconds)

    def weights_path(self, name: str) -> Path:
        """Return the path of the weights of a finished training, given the name of its curve."""
        return weights_path(self.path, name)

    def lock_for_workers(self) -> WorkersLock:
        """Return a lock, for a `with`, that keeps the directory in use while workers outlive this process."""
        return WorkersLock(self.path / WORKERS_LOCK)

    def clear(self, keep: Sequence[str] = ()) -> None:
        """Delete the files that onepath wrote, and nothing else; the directory stays locked.

        The directories of further limits inside this one are cleared, too.

        Args:
            keep: names of files of this directory that are not deleted.

        Raises:
            RunDirectoryError: a file cannot be deleted, or the directory of a further limit is in use.
        """
        self.close_store()
        for part in self.path.glob(LIMIT_FOLDERS):
            if (part / CONFIG).is_file():
                with RunDirectory(part) as directory:
                    directory.clear()
                    directory.discard_if_unused()
        try:
            for file in (*self._ours(), self.path / CONFIG):
                if file.name not in keep:
                    file.unlink(missing_ok=True)
            sync_directory(self.path)
        except OSError as error:
            raise RunDirectoryError(
                f"--fresh must be able to delete the old run in {self.path}, but {reason(error)}; fix that"
            ) from error

    def has_results(self, inputs: Collection[str] = ()) -> bool:
        """Return whether the run has computed something that starting over would lose.

        That is an update of a training, an evaluated architecture, or a file that a stage has written; not the time of
        a stage, and not the latency of a network.

        Args:
            inputs: names of files that do not count, because they hold what the run was given.
        """
        if self.store.curves() or self.store.trials() or self.store.networks():
            return True
        written = (file.name for file in self._ours() if file.exists())
        return any(
            name not in _WITHOUT_RESULTS and name not in inputs and not name.startswith(_EVENTS)
            for name in written
        ) or any(self.path.glob(LIMIT_FOLDERS))

    def discard_if_unused(self) -> None:
        """Remove the directory if no run has begun in it and it holds no other files."""
        if (self.path / CONFIG).exists():
            return
        self.close_store()
        with contextlib.suppress(OSError):
            if self._is_unbegun():
                (self.path / TRIALS).unlink(missing_ok=True)
            (self.path / LOCK).unlink(missing_ok=True)
            (self.path / WORKERS_LOCK).unlink(missing_ok=True)
            (self.path / CHECKPOINTS).rmdir()
            self.path.rmdir()

    def close_store(self) -> None:
        """Close the trial store; the next use opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _ours(self) -> Iterator[Path]:
        yield from (self.path / name for name in _FILES)
        yield from self.path.glob(f"{_EVENTS}*")
        checkpoints = self.path / CHECKPOINTS
        yield from checkpoints.glob("*.training.pt")
        yield from checkpoints.glob("*.safetensors")

    def _refuse_links(self) -> None:
        """Raise RunDirectoryError if a file or folder of ours is a link out of the directory or of another kind.

        This runs before anything is written, so that nothing is written outside the directory.
        """
        inside = self.path.resolve()
        folders = [self.path / CHECKPOINTS, *self.path.glob(LIMIT_FOLDERS)]
        for place in (*self._ours(), self.path / CONFIG, *folders):
            leads_out = place.is_symlink() and not place.resolve().is_relative_to(inside)
            is_right = place.is_dir() if place in folders else place.is_file()
            if leads_out or (place.exists() and not is_right):
                raise irregular_error(place)

    def _refuse_foreign_files(self) -> None:
        if (self.path / CONFIG).is_file():
            return
        foreign = [file.name for file in self._ours() if file.exists()]
        if foreign and set(foreign) <= {TRIALS, f"{TRIALS}-journal"}:
            foreign = [] if self._is_unbegun() else foreign
        if foreign:
            raise RunDirectoryError(
                f"--out must be a new directory or a run directory, but {self.path} holds {foreign[0]} "
                f"and no {CONFIG}; give another --out"
            )

    def _is_unbegun(self) -> bool:
        """Whether the store is absent, empty, or left by a process that ended before it wrote the configuration."""
        file = self.path / TRIALS
        if not file.is_file() or file.stat().st_size == 0:
            return True
        try:
            with Store(file, read_only=True) as store:
                return set(store.stages()) <= {DATA}
        except RunDirectoryError:
            return False

    def _remove_temporary_files(self) -> None:
        for folder in (self.path, self.path / CHECKPOINTS):
            for file in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                file.unlink(missing_ok=True)


def training_checkpoint(path: Path, name: str, every_seconds: float) -> TrainingCheckpoint:
    """Return the checkpoint of an unfinished training in a run directory.

    Args:
        path: path of the run directory.
        name: name of the training's curve.
        every_seconds: see `TrainingCheckpoint`.

    Raises:
        RunDirectoryError: the name is not made of letters, digits, dashes and underscores.
    """
    return TrainingCheckpoint(_checkpoint_path(path, name, "training.pt"), every_seconds)


def weights_path(path: Path, name: str) -> Path:
    """Return the path of the weights of a finished training in a run directory.

    Args:
        path: path of the run directory.
        name: name of the training's curve.

    Raises:
        RunDirectoryError: the name is not made of letters, digits, dashes and underscores.
    """
    return _checkpoint_path(path, name, "safetensors")


def _checkpoint_path(path: Path, name: str, ending: str) -> Path:
    if not NAME.fullmatch(name):
        raise RunDirectoryError(
            f"a training in a run directory must have a name of letters, digits and dashes, but {path} names "
            f"{shown(name)}; start over with --fresh"
        )
    return path / CHECKPOINTS / f"{name}.{ending}"


def check_config(path: Path, digests: Mapping[str, str]) -> None:
    """Raise RunDirectoryError if the configuration in the run directory `path` has been edited.

    Args:
        path: path of the run directory.
        digests: file -> digest, see `Store.digests`; without a digest of the configuration, nothing is checked.
    """
    digest = file_digest(path / CONFIG)
    if digests.get(CONFIG, digest) != digest:
        raise RunDirectoryError(
            f"{path / CONFIG} must be as the run wrote it, but it has been edited; undo that, or start over with "
            "--fresh and the other options"
        )


def missing_error(path: Path) -> RunDirectoryError:
    """Return the error for a directory in which no run has begun."""
    return RunDirectoryError(
        f"a run directory holds {CONFIG}, but {path} has none; begin one with `onepath run --out {path}`"
    )


def read_config(path: Path) -> dict[str, Any] | None:
    """Return the configuration in the run directory `path`, or None if there is none; needs no lock.

    Raises:
        RunDirectoryError: the file cannot be read or is damaged.
    """
    file = path / CONFIG
    text = read_bytes(file, _MOST_CONFIG_BYTES + 1)
    if text is None:
        return None
    if len(text) > _MOST_CONFIG_BYTES:
        raise damaged_error(file)
    try:
        content = read_yaml(text.decode("utf-8"))
    except ValueError as error:
        raise damaged_error(file) from error
    if not isinstance(content, dict):
        raise damaged_error(file)
    return content


def read_json(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None if the file does not exist.

    Raises:
        RunDirectoryError: the file cannot be read or holds no JSON object.
    """
    text = read_bytes(file)
    if text is None:
        return None
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged_error(file) from error
    if not isinstance(content, dict):
        raise damaged_error(file)
    return content
