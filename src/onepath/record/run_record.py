"""Reading a run directory: everything that is stored, without a lock and without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onepath.record.atomic import file_digest
from onepath.record.directory import (
    CONFIG,
    RESULT,
    TRIALS,
    check_config,
    missing_error,
    read_config,
    read_json,
)
from onepath.record.rows import CurvePoint, NetworkRow, StageRow, TrialRow
from onepath.record.store import Store


@dataclass(frozen=True)
class RunRecord:
    """The content of a run directory.

    Attributes:
        path: path of the run directory.
        config: content of `config.yaml`.
        result: content of `result.json`; empty before the run has finished, or if anything but the run has changed the
            file.
        trials: every evaluated architecture, in the order of evaluation.
        networks: stand-alone networks of the winner and the random baseline.
        curves: name of a training -> its points, by update.
        stages: name of a stage -> {"seconds": float, "done": bool, "record": dict}.
        digests: path in the run directory -> digest of the file that the run wrote there; only for the files whose
            digest is stored.
    """

    path: Path
    config: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)
    trials: list[TrialRow] = field(default_factory=list)
    networks: list[NetworkRow] = field(default_factory=list)
    curves: dict[str, list[CurvePoint]] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, path: Path | str) -> RunRecord:
        """Read a run directory, finished or not, also while another process works on it.

        Raises:
            RunDirectoryError: no run has begun in `path`, or one of its files is damaged or has been edited.
        """
        path = Path(path).expanduser()
        config = read_config(path)
        if config is None:
            raise missing_error(path)
        if not (path / TRIALS).is_file():
            return cls(path, config, read_json(path / RESULT) or {})
        with Store(path / TRIALS, read_only=True) as store:
            digests = store.digests()
            check_config(path, digests)
            # The result is made from the store: a changed file is left out, and a rerun makes it again.
            is_ours = CONFIG not in digests or digests.get(RESULT) == file_digest(path / RESULT)
            result = (read_json(path / RESULT) or {}) if is_ours else {}
            stages = {name: _plain(stage) for name, stage in store.stages().items()}
            return cls(
                path, config, result, store.trials(), store.networks(), store.curves(), stages, digests
            )


def _plain(stage: StageRow) -> dict[str, Any]:
    return {"seconds": stage.seconds, "done": stage.done, "record": stage.record}
