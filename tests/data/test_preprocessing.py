from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.ImageOps
import pytest
import torch
from data.texts import cycle_task
from PIL import Image

from onepath.data import Preprocessing, load_data
from onepath.data.augment import fit_image
from onepath.data.decode import decode
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


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("is_transparent", [False, True])
@pytest.mark.parametrize("normalisation", ["inside", "outside"])
def test_a_snippet_reads_pictures_as_the_data_were_read(
    fit: Any, is_transparent: bool, normalisation: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            colours = np.repeat(np.repeat(rng.integers(0, 256, (3, 6, 4)), 8, 0), 8, 1).astype(np.uint8)
            colours[..., 3] = np.where(colours[..., 3] < 128, 0, 255) if is_transparent else 255
            Image.fromarray(colours if is_transparent else colours[..., :3]).save(
                tmp_path / name / f"{number}.png"
            )
    preparing = load_data(tmp_path, input_size=24, fit=fit).preprocessing
    assert Preprocessing.from_document(preparing.document(), preparing.class_names) == preparing
    lines = preparing.snippet("m.onnx", normalisation).splitlines()
    assert len(lines) <= 6
    given: list[Any] = []

    class Session:
        def __init__(self, _file: str) -> None:
            pass

        def get_modelmeta(self) -> Any:
            notes = {"class_names": ["a", "b"], "preprocessing": preparing.document(normalisation)}
            return SimpleNamespace(custom_metadata_map={key: json.dumps(text) for key, text in notes.items()})

        def run(self, _names: None, inputs: dict[str, Any]) -> list[Any]:
            given.append(inputs["input"])
            return [np.array([[0.0, 1.0]])]

    picture = tmp_path / "b" / "5.png"
    code = "\n".join(lines[1:]).replace('"image.png"', repr(str(picture)))
    exec(
        code,
        {"json": json, "numpy": np, "PIL": PIL, "onnxruntime": SimpleNamespace(InferenceSession=Session)},
    )
    pixels = fit_image(decode(picture.read_bytes(), preparing.background or 0), (24, 24), fit)
    wanted = torch.from_numpy(np.array(pixels)).movedim(-1, 0)[None].float()
    if normalisation == "outside":
        wanted = preparing.normalise(wanted)
    (got,) = given
    # Pillow resizes before it pads, so that pixels at an edge are not mixed with black.
    assert np.abs(got - wanted.numpy()).mean() <= (4 if normalisation == "inside" else 0.05)
