"""Exported files take raw values and say what these are; they are used here as by someone who has no onepath."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from onepath.data import Preprocessing
from onepath.data.augment import resize_and_centre
from onepath.errors import ConfigurationError, ShapeError
from onepath.export import (
    export_onnx,
    export_program,
    onnx_max_abs_error,
    program_max_abs_error,
    save_weights,
    trace,
)

WITHOUT_ONEPATH = """
import contextlib, io, json, os, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onepath", "torch", "torchvision"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
for folder in json.loads(sys.argv[1]):
    os.chdir(folder)
    with open("out.txt", "w") as out, contextlib.redirect_stdout(out):
        exec(open("snippet.py").read(), {})
"""
NAMES = ("</script>", "naïve", "c", "d", "e")


class Words(nn.Module):
    """(N, T) words to (N, T, 5) scores."""

    input_dtype = torch.int64

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x)


def padded(channels: int, rank: int) -> nn.Module:
    """A convolution with zero padding, into which no normalisation can be folded."""
    conv: Any = nn.Conv2d if rank == 2 else nn.Conv1d
    pool: Any = nn.AdaptiveAvgPool2d if rank == 2 else nn.AdaptiveAvgPool1d
    return nn.Sequential(conv(channels, 8, 3, padding=1), nn.ReLU(), pool(2), nn.Flatten(), nn.LazyLinear(5))


KINDS: dict[str, Preprocessing] = {
    "digits": Preprocessing((1, 8, 8), NAMES, (0.3,), (0.37,), 16.0, "uint8"),
    "pictures": Preprocessing((3, 6, 8), NAMES, (0.5, 0.4, 0.3), (0.3, 0.2, 0.1), 255.0, "uint8"),
    "sequences": Preprocessing((6, 40), NAMES, (1.0,) * 6, (2.0,) * 6),
    "words": Preprocessing((4,), ("the", "cat", "sat", "<eos>", "<unk>"), raw_dtype="int64"),
}


def network(kind: str) -> nn.Module:
    shape = KINDS[kind].input_shape
    torch.manual_seed(3)
    model = Words() if kind == "words" else padded(shape[0], len(shape) - 1)
    if kind != "words":
        model(torch.zeros(2, *shape))
    return model.eval()


def raw_inputs(kind: str, num: int = 6) -> Tensor:
    preprocessing, rng = KINDS[kind], np.random.default_rng(1)
    if kind == "words":
        return torch.from_numpy(rng.integers(0, 5, (num, 4)))
    if preprocessing.raw_dtype.startswith("uint"):
        values = rng.integers(0, int(preprocessing.full_scale) + 1, (num, *preprocessing.input_shape))
    else:
        values = rng.normal(0, 30, (num, *preprocessing.input_shape))
    return torch.from_numpy(values.astype(np.float32))


# Few, as each takes a second or two to export; a whole run does the digits.
INSIDE = ("pictures", "sequences", "words")
CASES = [(kind, "inside") for kind in INSIDE] + [("pictures", "outside"), ("sequences", "outside")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """By kind and place of the normalisation a folder with both graphs."""
    made = {}
    for kind, place in CASES:
        preprocessing, folder = KINDS[kind], tmp_path_factory.mktemp("files")
        options: Any = {"preprocessing": preprocessing, "normalisation": place}
        program = trace(network(kind), preprocessing.input_shape, **options)
        export_onnx(program, preprocessing.input_shape, folder / "model.onnx", **options)
        export_program(program, preprocessing.input_shape, folder / "model.pt2", **options)
        made[kind, place] = folder
    return made


@pytest.mark.parametrize(("kind", "place"), CASES)
def test_raw_values_in_are_the_networks_outputs_out(
    files: dict[tuple[str, str], Path], kind: str, place: str
) -> None:
    model, preprocessing, folder = network(kind), KINDS[kind], files[kind, place]
    raw = raw_inputs(kind)
    inputs = preprocessing.normalise(raw)
    given = raw if place == "inside" else inputs
    assert onnx_max_abs_error(model, folder / "model.onnx", inputs, raw=given) < 2e-6
    assert program_max_abs_error(model, folder / "model.pt2", inputs, raw=given) < 2e-6
    if kind != "words":
        with pytest.raises(ShapeError, match="same examples"):
            onnx_max_abs_error(model, folder / "model.onnx", inputs, raw=given[:1])
        other = inputs if place == "inside" else raw
        assert onnx_max_abs_error(model, folder / "model.onnx", inputs, raw=other) > 1e-2


@pytest.mark.parametrize("kind", INSIDE)
def test_every_file_says_how_an_input_is_prepared(
    files: dict[tuple[str, str], Path], kind: str, tmp_path: Path
) -> None:
    from safetensors import safe_open

    preprocessing, folder = KINDS[kind], files[kind, "inside"]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert session.get_inputs()[0].name == "input"
    notes = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    extra: dict[str, Any] = {"onepath.json": ""}
    torch.export.load(folder / "model.pt2", extra_files=extra)
    assert json.loads(extra["onepath.json"]) == notes
    weights = save_weights(network(kind), tmp_path / "model.safetensors", preprocessing=preprocessing)
    with safe_open(weights, "pt") as file:
        stored = file.metadata()
    assert notes["class_names"] == json.loads(stored["class_names"]) == list(preprocessing.class_names)
    assert notes["input_shape"] == json.loads(stored["input_shape"]) == list(preprocessing.input_shape)
    assert Preprocessing.from_document(notes["preprocessing"], preprocessing.class_names) == preprocessing
    if kind != "words":
        assert notes["preprocessing"]["normalisation"] == "inside"
        assert json.loads(stored["preprocessing"])["normalisation"] == "outside"


def prepare(kind: str, place: str, folder: Path) -> list[str]:
    """The snippet and its input in the folder of the files; what it is to print, as class names."""
    preprocessing = KINDS[kind]
    (folder / "snippet.py").write_text(preprocessing.snippet("model.onnx", place))  # type: ignore[arg-type]
    raw = raw_inputs(kind)
    if "pictures" in kind:
        channels, height, width = preprocessing.input_shape
        pixels = np.random.default_rng(2).integers(0, 256, (2 * height + 5, 3 * width, 3)).astype(np.uint8)
        image = Image.fromarray(pixels) if channels == 3 else Image.fromarray(pixels).convert("L")
        image.save(folder / "image.png")
        array = np.array(image).reshape(*pixels.shape[:2], channels)
        raw = torch.from_numpy(resize_and_centre(array, height, width)).permute(2, 0, 1)[None].float()
    elif kind == "words":
        (folder / "text.txt").write_text("the bird\nsat on the cat")
        raw = torch.tensor([[0, 4, 3, 2]])
    else:
        np.save(folder / "inputs.npy", raw.numpy().astype(preprocessing.raw_dtype))
    with torch.no_grad():
        scores = network(kind)(preprocessing.normalise(raw))
    scores = scores[:, -1] if kind == "words" else scores
    return [preprocessing.class_names[index] for index in scores.argmax(1).tolist()]


def test_the_snippets_run_without_onepath(files: dict[tuple[str, str], Path]) -> None:
    expected = {key: prepare(*key, folder) for key, folder in files.items()}
    process = subprocess.run(
        [
            sys.executable,
            "-I",
            "-W",
            "error",
            "-c",
            WITHOUT_ONEPATH,
            json.dumps(list(map(str, files.values()))),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    for key, folder in files.items():
        printed = (folder / "out.txt").read_text().strip()
        alone = "pictures" in key[0] or key[0] == "words"
        assert printed == (expected[key][0] if alone else str(expected[key])), key


def test_without_preprocessing_the_input_is_the_networks_own(tmp_path: Path) -> None:
    path = export_onnx(network("digits"), (1, 8, 8), tmp_path / "model.onnx")
    notes = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(notes["preprocessing"])["values"].startswith("the network's own inputs")
    assert "class_names" not in notes


def test_preprocessing_of_other_inputs_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"is for \(3, 6, 8\) and input_shape is \(1, 8, 8\)"):
        trace(network("digits"), (1, 8, 8), preprocessing=KINDS["pictures"])
    with pytest.raises(ConfigurationError, match="'inside' or 'outside'"):
        trace(network("digits"), (1, 8, 8), normalisation="both")  # type: ignore[arg-type]


def test_weights_are_the_same_bytes_whatever_the_order_of_hashes(tmp_path: Path) -> None:
    """The library that writes the file keeps metadata in a hash table of its own."""
    notes = {f"key {index}": f"näme {index}" for index in range(8)}
    contents = {
        save_weights(network("digits"), tmp_path / "model.safetensors", metadata=notes).read_bytes()
        for _ in range(6)
    }
    assert len(contents) == 1
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", **notes}
    state = network("digits").state_dict()
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, state[name])
