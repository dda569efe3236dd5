"""`load_data`: reading data that the user names or passes, and making a task of them."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onepath.data.arrays import read_arrays, read_digits, read_npz, read_npz_test
from onepath.data.augment import Fit, Size
from onepath.data.bounds import check_whole, kind_of, within_memory
from onepath.data.examples import Examples, Source, reason, shows_characters
from onepath.data.folder import check_unseen, read_folder, read_folder_test
from onepath.data.image_task import ImageTask, Part
from onepath.data.labels import common_classes, numbering_note
from onepath.data.layout import Axis, Kind
from onepath.data.objects import read_listed_images, task_of
from onepath.data.parquet import read_parquet
from onepath.data.splits import check_counts, check_fraction, num_test, num_validation, stratified_split
from onepath.data.stores import MAX_INPUT_SIZE, make_stores
from onepath.data.task import Split, Task
from onepath.data.text import is_text_folder, read_text
from onepath.data.torchvision_sets import (
    check_outside,
    find_dataset,
    read_torchvision,
    read_torchvision_test,
)
from onepath.errors import DataError, plain, shown

MAX_WORKERS = 256
KINDS = ("images", "sequence", "classification", "regression", "multi-label", "segmentation")


@within_memory()
def load_data(
    source: Any,
    *,
    test: Any = None,
    root: str | Path | None = None,
    validation_fraction: float | None = None,
    input_size: int | Size | None = None,
    fit: Fit = "crop",
    channels: Axis | None = None,
    kind: str | None = None,
    target: str | None = None,
    seed: int = 0,
    augment: bool = True,
    flip: bool | None = None,
    in_memory: bool | None = None,
    num_workers: int | None = None,
) -> Task:
    """Read images, sequences, text, tables or datasets, and split them into training, validation and test data.

    `source` takes one of these forms:

    - images or sequences with labels: "digits" (comes with scikit-learn); the name of a torchvision classification
      dataset ("cifar10", needs `root`); a folder of class folders (or of `train/` and `test/` or `val/`, or of class
      folders with a `test/` beside them that holds class folders too); an .npz with x_train, y_train and optionally
      x_test, y_test; a .parquet with the columns `image` and `label`; a .csv with the columns `path` and `label`; or a
      tuple of arrays (x, y);
    - text: a folder with `train.txt`, `valid.txt` and `test.txt`, see `onepath.data.text.read_text`. `test`,
      `validation_fraction` and `input_size` must not be given, and the other options have no effect;
    - tables and Python objects: a table as a .csv or a data frame with `target`, a torch Dataset, a pair of training
      and test Dataset or data frame, a DataLoader, arrays (x, y) if `kind` says what the targets are, or a task; see
      `onepath.data.objects.task_of`. Only `test`, `target`, `kind` and `seed` have an effect, and a task is returned
      unchanged.

    Args:
        source: the data, see above.
        test: the test set, in any of these forms; it replaces a test set of `source`. Without a test set, a stratified
            20 % of the images or sequences, rounded up, are held out; for other data see `task_of`.
        root: folder of torchvision's dataset files, which are downloaded if they are not there.
        validation_fraction: share of the training data that is held out, stratified, for validation; None: 20 %, but
            at most 5,000 examples. It is not used if `source` has its own validation set. (If a folder has `val/` but
            no `test/`, `val/` is its test set.)
        input_size: size that images are resized to, the side of a square or (height, width), at most 4,096 a side.
            None keeps the size of small images and chooses a size for large ones, in their own aspect ratio if all have
            the same one; `notes` name the chosen size.
        fit: how images of another aspect ratio are brought to the size: "crop" covers the size and cuts the sides off
            (`notes` say how much), "pad" keeps the whole image and adds black.
        channels: whether arrays have their channels "first" or "last"; None: guess, see below.
        kind: whether arrays hold "images" or each array is a "sequence"; or what the targets are: "classification",
            "regression", "multi-label" or "segmentation". None: guess, see below.
        target: the column of a table that is predicted; None takes "label" or "target".
        seed: seed of the splits. Nothing else in this function is random.
        augment: whether training images are randomly shifted or cropped, and mirrored.
        flip: whether training images are mirrored left to right at random. None mirrors them with two exceptions: names
            say that the images show characters, or the images are oblong arrays of values that pixels do not have,
            which may be series in time.
        in_memory: whether decoded images are kept in memory and augmented a batch at a time (crop with padding), or
            decoded when they are needed and augmented one by one (resized crop). None keeps images in memory up to 64
            pixels a side, or up to 128 if all have one size and take at most 2 GiB together. Arrays stay in memory.
        num_workers: number of threads that decode images, at most 256; 0 decodes in the calling thread. None: one per
            processor, at most 8.

    Raw values. Arrays hold whole numbers of any type, floats or truth values. Images have shape (N, H, W),
    (N, H, W, C) or (N, C, H, W), sequences (N, C, T) or (N, T, C). `find_layout` guesses which one an array is, and
    `notes` state the guess if it is not certain. Image files are read upright (as their orientation tag says), in their
    full depth (8, 16 or 32 bits, or floats); if a file has several frames, the first one is read. Transparent pixels
    are laid on white, black or grey, whichever shows the images most clearly.
    Training and test data are brought to one scale, see `common_scales`. Inputs are
    `(value / full_scale - mean) / std`, with the mean and standard deviation of each channel over the training data. An
    input of a sequence has shape (C, T); sequences are never augmented.

    Labels are strings, whole numbers of any type, truth values, or one-hot rows. Whole numbers may have gaps or be
    negative (-1 and 1).

    Data may come from anyone: no code in the data is run, and the memory that they may take is limited, see
    `onepath.data.bounds`.

    Raises:
        DataError: data are missing, damaged, too large, or cannot be learned from; the message says what to do.
    """
    check_fraction(validation_fraction)
    size = _size(input_size)
    for name, value, choices in (
        ("fit", fit, ("crop", "pad")),
        ("channels", channels, ("first", "last", None)),
        ("kind", kind, (*KINDS, None)),
    ):
        if value not in choices:
            raise DataError(
                f"{name} must be {' or '.join(choice for choice in choices if choice)}, but got {shown(value)}"
            )
    made = task_of(source, test, target=target, kind=kind, seed=seed)
    if made is not None:
        return made
    layout: Kind | None = "images" if kind == "images" else "sequence" if kind == "sequence" else None
    check_whole("num_workers", num_workers, 0, MAX_WORKERS, "0 decodes without threads")
    if isinstance(source, str | os.PathLike) and source != "digits" and _is_text(source):
        given = {"test": test, "validation_fraction": validation_fraction, "input_size": input_size}
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise DataError(
                f"a folder of text is used as it is split, but got {', '.join(wrong)} for {plain(source)}; leave it out"
            )
        return read_text(Path(source))
    found = _read(source, root, channels, layout)
    if test is not None:
        found = replace(found, test=_read_test(test, root, channels, found.train.kind))
        assert found.test is not None, "it was read"
        check_unseen(found.train, found.test)
    if found.train.kind == "sequence" and size is not None:
        raise DataError(
            f"input_size is for images, but {found.train.where} holds sequences; leave it out, or give kind='images'"
        )
    parts = [part for part in (found.train, found.validation, found.test) if part is not None]
    labels, class_names = common_classes(parts)
    own = [("validation", found.validation), ("test", found.test)]
    check_counts(
        labels[0], class_names, ["train", *(name for name, part in own if part is None)], found.train.where
    )
    with warnings.catch_warnings():
        # Files that Pillow warns about are either refused below or can be read.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        stores, plan, background, remarks = make_stores(parts, size, in_memory, num_workers, fit)
    # State each guess once, in the words of the training data. Their note names all alternatives; that of other parts
    # names fewer, since these parts follow the training data.
    said = {
        note.partition(", a guess;")[0]: note for part in reversed(parts) for note in reversed(part.notes)
    }
    notes = list(reversed(said.values()))
    notes += [*numbering_note(found.train), *remarks]
    may_be_series = _may_be_series(found.train)
    if flip is None and may_be_series:
        flip = False
        notes.append(
            "Training images are not mirrored, as their values may be series in time; flip=True mirrors them."
        )
    elif flip is None:
        flip = not shows_characters(found)
    if augment and not flip and not may_be_series and found.train.kind == "images":
        notes.append("Training images are not mirrored.")
    wholes = [
        Part(store, numbers, np.arange(len(numbers))) for store, numbers in zip(stores, labels, strict=True)
    ]
    splits = _splits(found, wholes, validation_fraction, seed)
    if found.test is None:
        notes.append(
            f"There is no test set: a stratified 20 % ({len(splits['test'].indices):,} examples) is held out."
        )
    absent = len(class_names) - len(np.unique(splits["test"].labels[splits["test"].indices]))
    if absent:
        notes.append(f"{absent} of {len(class_names)} classes have no test image.")
    return ImageTask(
        found.name,
        splits,
        class_names,
        flip=flip,
        augment=augment,
        notes=(*found.notes, *notes),
        kind=found.train.kind,
        channels=found.train.channels,
        fit=plan.fit,
        background=background,
    )


def _may_be_series(part: Examples) -> bool:
    """Return whether images may be series in time, such as spectrograms or signals of sensors.

    They may if they are oblong arrays of values that pixels do not have.
    """
    if not isinstance(part.images, np.ndarray) or part.values is None or part.kind == "sequence":
        return False
    return part.values.unit is None and part.images.shape[1] != part.images.shape[2]


def _size(given: int | Size | None) -> Size | None:
    """Return (height, width) of an input size that is one side or both; None stays None."""
    if given is None:
        return None
    sides = tuple(given) if isinstance(given, tuple | list) else (given, given)
    for side in sides:
        check_whole("input_size", side, 1, MAX_INPUT_SIZE, "32 is usual for small images, 224 for large ones")
    if len(sides) != 2:
        raise DataError(f"input_size must be one side or (height, width), but got {shown(given)}")
    return int(sides[0]), int(sides[1])


def _splits(
    found: Source, wholes: list[Part], validation_fraction: float | None, seed: int
) -> dict[Split, Part]:
    train = wholes[0]
    if found.test is None:
        train, test = _hold_out(train, num_test(len(train.indices)), seed, "test")
    else:
        test = wholes[-1]
    if found.validation is None:
        num = num_validation(len(train.indices), validation_fraction)
        train, validation = _hold_out(train, num, seed, "validation")
    else:
        validation = wholes[1]
    return {"train": train, "validation": validation, "test": test}


def _hold_out(part: Part, num: int, seed: int, purpose: Split) -> tuple[Part, Part]:
    kept, held_out = stratified_split(part.labels[part.indices], num, seed=seed, purpose=purpose)
    return replace(part, indices=part.indices[kept]), replace(part, indices=part.indices[held_out])


def _is_text(source: str | os.PathLike[str]) -> bool:
    try:
        path = Path(source)
        is_folder = bool(os.fspath(source)) and path.is_dir()
    except (OSError, ValueError):  # not a valid path; `_resolve` raises the error
        return False
    return is_folder and is_text_folder(path)


def _read(source: Any, root: str | Path | None, channels: Axis | None, kind: Kind | None) -> Source:
    if isinstance(source, tuple) and len(source) == 2:
        return read_arrays(*source, channels=channels, kind=kind)
    if isinstance(source, str) and source == "digits":
        return read_digits()
    dataset, path = _resolve(source, root)
    if dataset is not None:
        return read_torchvision(dataset, root)
    if path.is_dir():
        return read_folder(path)
    if path.suffix.lower() == ".npz":
        return read_npz(path, channels=channels, kind=kind)
    if path.suffix.lower() == ".csv" and (listed := read_listed_images(path)) is not None:
        return listed
    return read_parquet(path)


def _read_test(source: Any, root: str | Path | None, channels: Axis | None, kind: Kind) -> Examples:
    if isinstance(source, tuple) and len(source) == 2:
        return read_arrays(*source, "the test arrays", channels=channels, kind=kind).train
    if isinstance(source, str) and source == "digits":
        return read_digits().train
    dataset, path = _resolve(source, root)
    if dataset is not None:
        return read_torchvision_test(dataset, root)
    if path.is_dir():
        return read_folder_test(path)
    if path.suffix.lower() == ".npz":
        return read_npz_test(path, channels=channels, kind=kind)
    if path.suffix.lower() == ".csv" and (listed := read_listed_images(path)) is not None:
        return listed.train
    return read_parquet(path).train


def _resolve(source: Any, root: str | Path | None) -> tuple[type | None, Path]:
    """Return the torchvision dataset class that a source names, or None, and the source as a path.

    Without a dataset class, the path exists and is of a known kind.
    """
    if not isinstance(source, str | os.PathLike) or not isinstance(os.fspath(source), str):
        raise DataError(f"data must be a name, a path or a tuple (x, y), but got {_what_came(source)}")
    path, name = Path(source), os.fspath(source)
    try:
        name.encode()
        status = path.stat() if path.exists() else None
    except (OSError, ValueError) as error:  # also for text that is not UTF-8, which no record could hold
        raise DataError(
            f"data must be a name or a path, but {shown(name)} is not ({reason(error)}); {_FORMS}"
        ) from error
    if isinstance(source, str) and (root is not None or status is None):
        dataset = find_dataset(source)
        if dataset is not None:
            return dataset, path
    is_known_file = path.suffix.lower() in (".npz", ".parquet", ".csv")
    if name.strip() and status is not None:
        _check_kind(path, status, is_known_file)
        return None, path
    if is_known_file or len(path.parts) > 1:
        raise DataError(
            f"the data must exist, but {plain(path)} does not; check the path (working directory {plain(Path.cwd())})"
        )
    check_outside(name)
    raise DataError(f"the data must be a known name or an existing path, but got {shown(name)}; {_FORMS}")


def _what_came(source: object) -> str:
    """Describe an object that is not accepted as data, by the names of its classes, and say what to give instead."""
    bases = {base.__name__ for base in type(source).__mro__}
    name = shown(type(source).__name__)[1:-1]
    if "Dataset" in bases or "Dataset" in name:
        return f"a dataset ({name}) that is none of torch.utils.data; give a torch Dataset, or arrays (x, y)"
    if bases & {"LazyFrame", "Table"}:
        return f"a table ({name}); give a data frame, or its columns as arrays (x, y)"
    if bases & {"ndarray", "Tensor", "Series", "list"}:
        return f"{name} without labels; give a tuple (x, y) of arrays"
    if isinstance(source, tuple):
        return f"tuple of {len(source)}; give (x, y), and the test set as test=(x, y)"
    return f"{name}; {_FORMS}"


def _check_kind(path: Path, status: os.stat_result, is_known_file: bool) -> None:
    """Raise unless an existing path is a folder that may hold data or a regular file with a known suffix."""
    kind = kind_of(status.st_mode)
    if kind == "a folder":
        if is_known_file:
            raise DataError(
                f"a {path.suffix} must be one file, but {plain(path)} is a folder; give a file in it"
            )
        if path.resolve().parent == path.resolve():
            raise DataError(
                f"data must be a folder of images or of text, but {plain(path)} is the whole disk; give a folder in it"
            )
    elif kind:
        raise DataError(f"a data file must be a regular file, but {plain(path)} is {kind}; give a file")
    elif not is_known_file:
        raise DataError(f"a data file must be .npz, .parquet or .csv, but got {plain(path)}; {_FORMS}")


_FORMS = (
    "understood are digits, a torchvision dataset such as cifar10 or mnist, a folder of class folders, an .npz with "
    "x_train and y_train, a .parquet with image and label, a .csv, a torch Dataset, a data frame, and a "
    "folder of text with train.txt, valid.txt and test.txt"
)
