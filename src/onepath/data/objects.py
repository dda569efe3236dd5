"""Reading Python objects and tables: datasets, loaders, data frames, arrays with a given `kind`, and .csv files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from onepath.data.bounds import read_image_file
from onepath.data.examples import EncodedImages, Examples, Source
from onepath.data.tables import columns_of, read_csv, table_task
from onepath.data.task import Task
from onepath.errors import DataError, plain, shown

_LOSSES = {
    "classification": "cross-entropy",
    "segmentation": "cross-entropy",
    "regression": "mse",
    "multi-label": "bce",
}
_METRICS = {"segmentation": "mean-iou"}
_PATHS = ("path", "file", "filename", "image")


def task_of(source: Any, test: Any, *, target: str | None, kind: str | None, seed: int) -> Task | None:
    """Make a task of Python objects or a table; return None for labelled images, sequences and text.

    Args:
        source: a task, which is returned unchanged; a dataset, a loader or a data frame; a pair of a training and a
            test dataset, loader or data frame; arrays (x, y) if `kind` says what y is; or the path of a .csv with a
            table.
        test: the test data, in the same form as `source`. None: the second of a pair, else a fifth of the data is held
            out, see `Task.from_datasets` and `table_task`.
        target: the column of a table that is predicted; None takes "label" or "target".
        kind: what the targets are: "classification", "regression", "multi-label" or "segmentation"; for tables only the
            first two. None guesses by the targets.
        seed: seed of the splits.

    Raises:
        DataError: the data cannot be read or learned from, or `kind` does not fit them.
    """
    if isinstance(source, Task):
        return source
    if isinstance(source, str | os.PathLike):
        return _of_csv(Path(source), test, target, kind, seed)
    if isinstance(source, tuple) and len(source) == 2 and (_is_dataset(source[0]) or _is_frame(source[0])):
        source, test = source
    if _is_dataset(source):
        return _of_datasets(source, test, kind, seed)
    if _is_frame(source):
        rows = None if test is None else columns_of(test)
        return table_task("table", columns_of(source), rows, target=target, kind=kind, seed=seed)
    if kind in _LOSSES and isinstance(source, tuple) and len(source) == 2:
        tested = None if test is None else _of_arrays(test[0], test[1], kind)
        return _of_datasets(_of_arrays(source[0], source[1], kind), tested, kind, seed)
    return None


def read_listed_images(path: Path) -> Source | None:
    """Return the images that a .csv lists by path with a label each; None if the .csv is another table.

    The paths are in a column called path, file, filename or image, relative to the folder of the .csv; the classes are
    in a column called label.

    Raises:
        DataError: the .csv cannot be read, or an image does not exist.
    """
    columns = read_csv(path)
    listed = next((name for name in _PATHS if name in columns), None)
    if listed is None or "label" not in columns:
        return None
    files = [str(path.parent / file) for file in columns[listed]]
    absent = next((file for file in files if not Path(file).is_file()), None)
    if absent is not None:
        raise DataError(
            f"every image that {plain(path)} lists must exist, but {plain(absent)} does not; check the paths"
        )
    names = tuple(sorted(set(columns["label"])))
    labels = np.array([names.index(label) for label in columns["label"]], dtype=np.int64)
    images = EncodedImages(
        len(files), lambda index: read_image_file(files[index]), lambda index: plain(files[index]), files
    )
    return Source(path.stem, Examples(plain(path), images, labels, names))


def _of_csv(path: Path, test: Any, target: str | None, kind: str | None, seed: int) -> Task | None:
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    columns = read_csv(path)
    if target is None and "label" in columns and any(name in columns for name in _PATHS):
        return None
    tested = None if test is None else read_csv(Path(test))
    return table_task(path.stem, columns, tested, target=target, kind=kind, seed=seed)


def _is_dataset(source: object) -> bool:
    return isinstance(source, Dataset | DataLoader)


def _is_frame(source: object) -> bool:
    return hasattr(source, "columns") and hasattr(source, "__getitem__") and hasattr(source, "shape")


def _of_datasets(train: Any, test: Any, kind: str | None, seed: int) -> Task:
    notes: tuple[str, ...] = ()
    if isinstance(train, DataLoader):
        train = train.dataset
        notes = (
            "Of the DataLoader its dataset alone is used: batches and their order are drawn from the seed.",
        )
    test = test.dataset if isinstance(test, DataLoader) else test
    if kind is not None and kind not in _LOSSES:
        raise DataError(
            f"kind of a dataset must be one of {', '.join(_LOSSES)}, but got {shown(kind)}; change it"
        )
    if kind is None:
        targets = torch.as_tensor(train[0][1]) if len(train) else torch.tensor(0)
        kind = (
            "regression"
            if targets.is_floating_point()
            else ("segmentation" if targets.dim() > 1 else "classification")
        )
        notes = (
            *notes,
            f"The data are read for {kind}, a guess by the type of the targets; kind says otherwise.",
        )
    name = type(train).__name__
    task = Task.from_datasets(
        train, None, test, loss=_LOSSES[kind], metric=_METRICS.get(kind), name=name, seed=seed
    )
    task.notes = (*notes, *task.notes)
    return task


def _of_arrays(x: Any, y: Any, kind: str) -> Dataset[Any]:
    inputs = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    targets = torch.as_tensor(np.asarray(y))
    if kind in ("regression", "multi-label"):
        targets = targets.float()
    if len(inputs) != len(targets):
        raise DataError(
            f"x and y must have as many rows, but have {len(inputs)} and {len(targets)}; give one target each"
        )
    return TensorDataset(inputs, targets)
