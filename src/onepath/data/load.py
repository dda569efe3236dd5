"""`load_data`: from what the user names to a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.arrays import is_pair, read_arrays, read_digits, read_npz, read_npz_test
from onepath.data.augment import Pixels, resize_and_centre
from onepath.data.decode import decode_all
from onepath.data.examples import Examples, Source, common_classes
from onepath.data.image_task import ImageTask, Part
from onepath.data.parquet import read_parquet
from onepath.data.pixels import ImageStore, MemoryImages
from onepath.data.splits import num_test, num_validation, stratified_split
from onepath.data.task import Split
from onepath.errors import DataError


def load_data(
    source: Any,
    *,
    test: Any = None,
    root: str | Path | None = None,
    validation_fraction: float | None = None,
    input_size: int | None = None,
    seed: int = 0,
    augment: bool = True,
    flip: bool | None = None,
) -> ImageTask:
    """Read labelled images."""
    found = _read(source, root)
    if test is not None:
        found = replace(found, test=_read_test(test, root))
    parts = [part for part in (found.train, found.validation, found.test) if part is not None]
    labels, class_names = common_classes(parts)
    stores = [_store(part, input_size) for part in parts]
    notes = list(found.notes)
    everything = np.arange(len(labels[0]))
    splits: dict[Split, Part] = {}
    kept: NDArray[np.int64] = everything
    if found.test is None:
        kept, held = stratified_split(labels[0], num_test(len(everything)), seed=seed, purpose="test")
        splits["test"] = Part(stores[0], labels[0], held)
        notes.append(
            f"No test set was given: a stratified 20 % of the data ({len(held):,} examples) was held out as test."
        )
    else:
        splits["test"] = Part(stores[-1], labels[-1], np.arange(len(labels[-1])))
    if found.validation is None:
        inner, held = stratified_split(
            labels[0][kept], num_validation(len(kept), validation_fraction), seed=seed, purpose="validation"
        )
        kept, held = kept[inner], kept[held]
        splits["validation"] = Part(stores[0], labels[0], held)
    else:
        splits["validation"] = Part(stores[1], labels[1], np.arange(len(labels[1])))
    splits["train"] = Part(stores[0], labels[0], kept)
    return ImageTask(
        found.name,
        splits,
        class_names,
        full_scale=found.full_scale,
        flip=(not found.has_characters) if flip is None else flip,
        augment=augment,
        notes=tuple(notes),
    )


def _read(source: Any, root: str | Path | None) -> Source:
    if is_pair(source):
        return read_arrays(*source)
    if str(source) == "digits":
        return read_digits()
    path = Path(source)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".parquet":
        return read_parquet(path)
    raise DataError(f"unknown {source}")


def _read_test(source: Any, root: str | Path | None) -> Examples:
    if not is_pair(source) and Path(source).suffix == ".npz":
        return read_npz_test(Path(source))
    return _read(source, root).train


def _store(part: Examples, input_size: int | None) -> ImageStore:
    if isinstance(part.images, np.ndarray):
        pixels: Pixels = part.images
        if input_size is not None:
            pixels = np.stack([resize_and_centre(image, input_size, input_size) for image in pixels])
        return MemoryImages(pixels)
    return MemoryImages(decode_all(part.images, part.where, input_size))
