from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onepath.data import load_data
from onepath.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
LABELS = [index % 3 for index in range(30)]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ENCODED = [png(pixels) for pixels in PIXELS]


def save(path: Path, image: Any = None, label: Any = None, metadata: dict[str, str] | None = None) -> Path:
    columns = {"image": ENCODED if image is None else image, "label": LABELS if label is None else label}
    table = pa.table(
        {name: column for name, column in columns.items() if column is not False} | {"file": ["x"] * 30}
    )
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ([index % 2 == 0 for index in range(30)], ("0", "1")),
        ([float(index % 3) for index in range(30)], ("0", "1", "2")),
        ([index % 2 * 2 - 1 for index in range(30)], ("-1", "1")),
        ([index % 3 * 10 + 10 for index in range(30)], ("10", "20", "30")),
    ],
)
def test_labels_of_any_type(tmp_path: Path, label: list[Any], names: tuple[str, ...]) -> None:
    assert load_data(save(tmp_path / "data.parquet", label=label)).class_names == names


FORMS = {
    "bytes": ENCODED,
    "large": pa.array(ENCODED, pa.large_binary()),
    "struct": pa.array([{"bytes": content, "path": None} for content in ENCODED]),
    "sliced": pa.chunked_array([pa.array([b"x", *ENCODED[:10]]).slice(1), pa.array(ENCODED[10:])]),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_image_column(tmp_path: Path, form: str) -> None:
    task = load_data(save(tmp_path / "data.parquet", image=FORMS[form]), test=(PIXELS, np.array(LABELS)))
    mean, std = (np.array(part) for part in task.normalisation)
    found = [
        (batch.inputs.permute(0, 2, 3, 1).numpy() * std + mean) * 255 for batch in task.batches("train", 50)
    ]
    found += [
        (batch.inputs.permute(0, 2, 3, 1).numpy() * std + mean) * 255
        for batch in task.batches("validation", 50)
    ]
    together = np.rint(np.concatenate(found)).astype(np.uint8)
    assert sorted(image.tobytes() for image in together) == sorted(image.tobytes() for image in PIXELS)
    assert (task.input_shape, task.num_classes) == ((3, 8, 8), 3)


NAMES = ["ant", "bee", "cat"]
HUGGING_FACE = {
    "huggingface": json.dumps({"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}})
}


@pytest.mark.parametrize(
    ("label", "metadata", "names"),
    [
        (LABELS, None, ("0", "1", "2")),
        (pa.array(LABELS, pa.uint8()), None, ("0", "1", "2")),
        ([NAMES[label] for label in LABELS], None, tuple(NAMES)),
        (pa.array([NAMES[label] for label in LABELS]).dictionary_encode(), None, tuple(NAMES)),
        (LABELS, HUGGING_FACE, tuple(NAMES)),
        (LABELS, {"huggingface": "{"}, ("0", "1", "2")),
        (LABELS, {"huggingface": '{"info": {"features": {"label": {"dtype": "int64"}}}}'}, ("0", "1", "2")),
    ],
)
def test_class_names(
    tmp_path: Path, label: Any, metadata: dict[str, str] | None, names: tuple[str, ...]
) -> None:
    assert load_data(save(tmp_path / "data.parquet", label=label, metadata=metadata)).class_names == names


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": False}, "lacks image; it has label, file: rename"),
        ({"label": False}, "lacks label; it has image, file"),
        ({"image": ["x.png"] * 30}, "image must hold encoded bytes, .* it is string"),
        ({"image": [{"path": "x.png"}] * 30}, "it is struct"),
        ({"image": [None, None, *ENCODED[2:]]}, "must have image, but 2 of 30 rows .* none, the first is row 0"),
        ({"label": [0, 1, None, *LABELS[3:]]}, "must have label, but 1 of 30 rows of .* have none, the first is row 2"),
        ({"label": [0.5, *LABELS[1:]]}, "has label 0.5 in row 0"),
        ({"label": [[0]] * 30}, "labels must be integers or strings, but label of .* is list"),
        ({"label": [-1, *LABELS[1:]]}, "label -1 in row 0"),
        ({"label": [0] * 30}, "number of classes >= 2 must hold"),
        ({"image": [ENCODED[0][:60], *ENCODED[1:9], b"", *ENCODED[10:]]}, "2 of 30 in .* are not, the first row 0"),
        ({"image": [*ENCODED[:29], png(PIXELS[0, :4])]}, "row 0 of .* is 8x8 and row 29 of .* 8x4"),
    ],
)  # fmt: skip
def test_wrong_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(save(tmp_path / "wrong.parquet", **columns))
    assert "\n" not in str(caught.value)


def test_names_must_cover_the_labels(tmp_path: Path) -> None:
    label = [3, *LABELS[1:]]
    with pytest.raises(DataError, match="label 3 in row 0 and 3 class names"):
        load_data(save(tmp_path / "wrong.parquet", label=label, metadata=HUGGING_FACE))


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"must be readable by pyarrow, but .*a.parquet is not") as caught:
        load_data(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


def test_cifar(shared_data: Path) -> None:
    """The 10,000 real test images serve as training and as test data."""
    path = shared_data / "cifar10_test.parquet"
    task = load_data(path, test=path)
    assert [task.num_examples(split) for split in ("train", "validation", "test")] == [8000, 2000, 10_000]
    assert (task.input_shape, task.num_classes) == ((3, 32, 32), 10)
    np.testing.assert_allclose(task.normalisation[0], [0.494, 0.485, 0.450], atol=0.01)
    np.testing.assert_allclose(task.normalisation[1], [0.246, 0.243, 0.261], atol=0.01)
    assert np.bincount(task.labels("validation")).tolist() == [200] * 10
