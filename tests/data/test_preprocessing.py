from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from data.texts import cycle_task
from PIL import Image

from onepath.data import Preprocessing, load_data
from onepath.errors import ConfigurationError


def _digits() -> Any:
    return load_data("digits")


def _images(dtype: str, channels: int) -> Any:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (60, 9, 8, channels))
    pixels = values.astype(np.uint8) if dtype == "uint8" else (values * 0.37 - 20).astype(np.float32)
    return load_data((pixels, np.arange(60) % 3))


TASKS = {
    "digits": _digits,
    "grey": lambda: _images("uint8", 1),
    "colour": lambda: _images("uint8", 3),
    "floats": lambda: _images("float32", 3),
    "many channels": lambda: _images("float32", 5),
}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_raw_inputs_become_those_of_the_network(name: str) -> None:
    task = TASKS[name]()
    raw, inputs = task.raw_inputs("test", 7), task.example_inputs("test", 7)
    assert raw.dtype == torch.float32
    assert tuple(raw.shape) == tuple(inputs.shape) == (7, *task.input_shape)
    assert not torch.allclose(raw, inputs)
    torch.testing.assert_close(task.preprocessing.normalise(raw), inputs, rtol=1e-5, atol=1e-5)


def test_tests_on_another_scale_are_given_on_that_of_the_training_images() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8), np.arange(60) % 3
    task = load_data((images, labels), test=((images / 255).astype(np.float32), labels))
    raw, inputs = task.raw_inputs("test", 60), task.example_inputs("test", 60)
    torch.testing.assert_close(task.preprocessing.normalise(raw), inputs, rtol=1e-5, atol=1e-5)


def test_the_document_says_all_and_comes_back() -> None:
    task = _images("uint8", 3)
    preprocessing = task.preprocessing
    document = json.loads(json.dumps(preprocessing.document("inside"), allow_nan=False))
    assert document["kind"] == "image"
    assert document["input"] == {
        "name": "input",
        "dtype": "float32",
        "shape": ["N", 3, 9, 8],
        "layout": "N, C, H, W",
    }
    assert (document["mean"], document["std"]) == tuple(map(list, task.normalisation))
    assert (document["full_scale"], document["raw_dtype"], document["raw_range"]) == (255, "uint8", [0, 255])
    assert document["channels"].startswith("red, green, blue")
    assert "cover 9 x 8" in document["resize"]
    assert Preprocessing.from_document(document, preprocessing.class_names) == preprocessing
    outside = preprocessing.document("outside")
    assert (document["normalisation"], outside["normalisation"]) == ("inside", "outside")
    assert outside["values"] == "normalised: (raw / full_scale - mean) / std"


def test_floats_have_no_range_and_other_ranks_their_own_layout() -> None:
    document = Preprocessing((6, 40), ("a", "b"), (0.0,) * 6, (2.0,) * 6).document()
    assert (document["kind"], document["input"]["layout"]) == ("array", "N, C, T")
    assert document["raw_range"] is None
    assert "resize" not in document
    raw = torch.randn(2, 6, 40)
    torch.testing.assert_close(
        Preprocessing((6, 40), (), (1.0,) * 6, (2.0,) * 6).normalise(raw), (raw - 1) / 2
    )


def test_words_are_indices() -> None:
    task = cycle_task(length=10)
    document = task.preprocessing.document()
    assert (document["kind"], document["input"]["dtype"]) == ("text", "int64")
    assert document["words"] == {"separator": "white space", "end_of_line": None, "unknown": None}
    inputs = task.example_inputs("test", 2)
    assert torch.equal(task.raw_inputs("test", 2), inputs)
    assert torch.equal(task.preprocessing.normalise(inputs), inputs)
    assert Preprocessing.from_document(document, task.class_names).class_names == task.class_names


@pytest.mark.parametrize("wrong", ["in", "", "Inside", None])
def test_a_wrong_place_of_normalisation_is_one_line(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be 'inside' or 'outside'"):
        _digits().preprocessing.document(wrong)


@pytest.mark.parametrize("name", [*sorted(TASKS), "words"])
@pytest.mark.parametrize("normalisation", ["inside", "outside"])
def test_a_snippet_has_at_most_six_lines_of_python(name: str, normalisation: Any) -> None:
    task = cycle_task(length=10) if name == "words" else TASKS[name]()
    snippet = task.preprocessing.snippet("it's \\a.onnx", normalisation)
    assert len(snippet.splitlines()) <= 6
    compile(snippet, "snippet", "exec")


def _files(folder: Path, kind: str) -> Any:
    """Files of two classes, of one aspect ratio that the input has not; transparent where `kind` says so."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:48]
    for number in range(16):
        smooth = [127 + 120 * np.sin((x + shift + 9 * number) / 7) * np.cos(y / 6) for shift in (0, 20, 40)]
        pixels = np.stack([*smooth, 127 + 127 * np.sin((x + y) / 8 + number)], axis=-1).astype(np.uint8)
        pixels[..., 3] |= np.uint8(rng.integers(0, 2))
        place = folder / f"class {number % 2}" / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        image = Image.fromarray(pixels, "RGBA")
        image.convert({"colour": "RGB", "transparent": "RGBA", "grey": "LA"}[kind]).save(place)
    return folder


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("normalisation", ["inside", "outside"])
@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("kind", ["colour", "transparent", "grey"])
def test_a_snippet_reads_a_file_as_the_task_does(
    kind: str, fit: Any, normalisation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_data(_files(tmp_path, kind), input_size=(16, 16), fit=fit)
    preprocessing = task.preprocessing
    has_background = kind != "colour"
    assert (preprocessing.fit, preprocessing.background is not None) == (fit, has_background)
    document = json.loads(json.dumps(preprocessing.document(normalisation)))
    assert Preprocessing.from_document(document, task.class_names) == preprocessing
    assert ("black beside" in document["resize"]) == (fit == "pad")
    assert ("laid on grey" in document["files"]) == has_background
    raw, inputs = task.raw_inputs("test", 1), task.example_inputs("test", 1)
    snippet = preprocessing.snippet("model.onnx", normalisation)
    assert len(snippet.splitlines()) <= 6

    def session(_: str) -> Any:
        text = {"class_names": json.dumps(task.class_names), "preprocessing": json.dumps(document)}
        return SimpleNamespace(
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=text),
            run=lambda _, fed: [np.zeros((1, 2)) * fed["input"].sum()],
        )

    wanted = raw if normalisation == "inside" else inputs
    # One of the files is the task's own input, to the rounding of Pillow's resizing and of torch's.
    differences = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    for file in sorted(tmp_path.glob("class */*.png")):
        (tmp_path / "image.png").write_bytes(file.read_bytes())
        found: dict[str, Any] = {}
        exec(snippet, found)
        x = found["x"]
        assert x.shape == tuple(wanted.shape)
        differences.append(np.abs(x - wanted.numpy()).max())
    unit = 1 if normalisation == "inside" else 1 / (255 * min(preprocessing.std))
    assert min(differences) <= 3.01 * unit
    assert sorted(differences)[1] > 5 * unit


def test_deep_images_are_given_as_arrays() -> None:
    deep = Preprocessing((1, 8, 8), ("a",), (0.5,), (0.2,), 65535.0, "float32", "pad", 255)
    assert "numpy.load" in deep.snippet()
    assert "PIL" not in deep.snippet()
    assert deep.document()["files"].endswith(
        "in full depth (8 bits times 257); transparent pixels laid on grey 255 of 255"
    )
