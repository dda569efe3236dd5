"""The preprocessing of an input before it enters a network, described for code outside this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from onepath.data.augment import Fit
from onepath.errors import ConfigurationError, shown

Normalisation = Literal["inside", "outside"]
"""Where inputs of an exported graph are normalised: "inside" the graph, or "outside", before they enter it."""

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
FORMULA = "(raw / full_scale - mean) / std"
_LAYOUTS = {1: "N, T", 2: "N, C, T", 3: "N, C, H, W"}


@dataclass(frozen=True)
class Preprocessing:
    """The computation of a network's input from a raw example: `(raw / full_scale - mean) / std`.

    Attributes:
        input_shape: shape of one example, without the batch: (C, H, W), (C, T), (F,) for the columns of a table, or
            (T,) for words.
        class_names: class names in the order of the outputs; for text the vocabulary.
        mean: mean of each channel, in units of the full scale; empty if nothing is normalised, as for text.
        std: standard deviation of each channel, in units of the full scale; empty if `mean` is.
        full_scale: the raw value that counts as 1.
        raw_dtype: type of the raw values, for example "uint8".
        fit: how an image of another aspect ratio is brought to height and width: "crop" cuts its sides off, "pad" adds
            black.
        background: grey of 0 ... 255 on which transparent pixels are laid; None if the data have none.
    """

    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    full_scale: float = 1.0
    raw_dtype: str = "float32"
    fit: Fit = "crop"
    background: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether inputs are indices of words, which are not normalised."""
        return not self.mean

    @property
    def raw_range(self) -> tuple[float, float] | None:
        """The smallest and the largest raw value; None if the type of the data sets no bounds, as for floats."""
        return (0.0, self.full_scale) if self.raw_dtype.startswith("uint") else None

    def normalise(self, raw: Tensor) -> Tensor:
        """Return the inputs of the network for raw examples.

        Args:
            raw: raw examples (N, C, ...) of any type. Words are returned unchanged.

        Returns:
            float32 of the same shape.
        """
        if self.is_text:
            return raw
        num = len(self.mean)
        mean, std = torch.tensor([self.mean, self.std], dtype=torch.float64)
        # The same arithmetic as in training, so that both agree up to rounding. It is one operation, which costs an
        # exported graph half as much as a multiplication and an addition.
        factor, offset = (1 / (self.full_scale * std)).float(), (-mean / std).float()
        return functional.batch_norm(
            raw.float(), torch.zeros(num), torch.ones(num), factor, offset, training=False, eps=0.0
        )

    def document(self, normalisation: Normalisation = "inside") -> dict[str, Any]:
        """Return a description of the preprocessing as JSON values, without the class names.

        Args:
            normalisation: whether the exported graph normalises its input, "inside", or expects normalised input,
                "outside".

        Raises:
            ConfigurationError: `normalisation` is neither "inside" nor "outside".
        """
        check_normalisation(normalisation)
        size = list(self.input_shape)
        described: dict[str, Any] = {
            "kind": "text" if self.is_text else "image" if len(size) == 3 else "array",
            "input": {
                "name": "input",
                "dtype": "int64" if self.is_text else "float32",
                "shape": ["N", *size],
                "layout": _LAYOUTS.get(len(size), ", ".join(("N", "C", *("D" for _ in size[1:])))),
            },
        }
        if self.is_text:
            described["values"] = "indices of words in class_names"
            described["summary"] = f"int64 (N, {size[0]}), the place of each word in class_names"
            described["words"] = {
                "separator": "white space",
                "end_of_line": END_OF_LINE if END_OF_LINE in self.class_names else None,
                "unknown": UNKNOWN if UNKNOWN in self.class_names else None,
            }
            return described
        inside = normalisation == "inside"
        described |= {
            "summary": self._summary(normalisation),
            "values": "raw, as the data had them" if inside else f"normalised: {FORMULA}",
            "normalisation": normalisation,
            "formula": FORMULA,
            "full_scale": self.full_scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "raw_dtype": self.raw_dtype,
            "raw_range": None if self.raw_range is None else list(self.raw_range),
        }
        if len(size) == 3:
            channels, height, width = size
            described["channels"] = {
                1: "grey",
                3: "red, green, blue; of arrays as they came",
            }.get(channels, "as they came")
            way = (
                "fit into {} (height x width), aspect ratio kept, bilinear and antialiased, then black beside them"
                if self.fit == "pad"
                else "cover {} (height x width), aspect ratio kept, bilinear and antialiased, then cut the centre"
            )
            described["resize"] = f"images of another size: {way.format(f'{height} x {width}')}"
            laid = (
                ""
                if self.background is None
                else f"; transparent pixels laid on grey {self.background} of 255"
            )
            deep = ", in full depth (8 bits times 257)" if self.full_scale == 65535 else ""
            described["files"] = f"upright, as their orientation tag says{deep}{laid}"
            described |= {"fit": self.fit, "background": self.background}
        return described

    def _summary(self, normalisation: Normalisation) -> str:
        """Return a description of the input in one sentence."""
        shape = f"float32 ({', '.join(('N', *map(str, self.input_shape)))})"
        bounds = "" if self.raw_range is None else f" {self.raw_range[0]:g} ... {self.raw_range[1]:g}"
        mean, std = (", ".join(str(round(value, 4)) for value in values) for values in (self.mean, self.std))
        if len(self.mean) > 1:
            mean, std = f"[{mean}]", f"[{std}]"
        formula = f"(raw / {self.full_scale:g} - {mean}) / {std}"
        if normalisation == "inside":
            return f"{shape}, raw values{bounds} as the data had them; the graph itself computes {formula}"
        return f"{shape}, normalised: {formula} of raw values{bounds}"

    @classmethod
    def from_document(cls, document: Mapping[str, Any], class_names: tuple[str, ...]) -> Preprocessing:
        """Return the preprocessing that a document describes.

        Args:
            document: a result of the method `document`.
            class_names: class names in the order of the outputs, which the document does not hold.
        """
        return cls(
            tuple(document["input"]["shape"][1:]),
            class_names,
            tuple(document.get("mean", ())),
            tuple(document.get("std", ())),
            document.get("full_scale", 1.0),
            document.get("raw_dtype", document["input"]["dtype"]),
            document.get("fit", "crop"),
            document.get("background"),
        )

    def snippet(self, file: str = "model.onnx", normalisation: Normalisation = "inside") -> str:
        """Return at most six lines of Python that run an exported .onnx file.

        They need numpy and onnxruntime, and Pillow for ordinary images, but not this package.

        Args:
            file: path of the .onnx file.
            normalisation: the normalisation with which the file was exported.

        Raises:
            ConfigurationError: `normalisation` is neither "inside" nor "outside"; not checked for text.
        """
        is_picture = self._is_picture
        imports = "import json, numpy, onnxruntime" + (", PIL.Image, PIL.ImageOps" if is_picture else "")
        lines = [
            imports,
            f"session = onnxruntime.InferenceSession({file!r})",
            "notes = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}",
        ]
        if self.is_text:
            return "\n".join((*lines, *self._word_lines()))
        scores = 'session.run(None, {"input": x.astype("float32")})[0]'
        if is_picture:
            lines += self._picture_lines(normalisation)
            lines.append(f'print(notes["class_names"][{scores}.argmax()])')
            return "\n".join(lines)
        shape = ", ".join(("N", *map(str, self.input_shape)))
        bounds = "" if self.raw_range is None else f" {self.raw_range[0]:g} ... {self.raw_range[1]:g}"
        array = self._scaled('numpy.load("inputs.npy")', normalisation)
        lines.append(f"x = {array}  # raw values{bounds}, shape ({shape})")
        if len(self.class_names) == 1:  # the output is a number, not a class
            lines.append(f"print({scores})")
            return "\n".join(lines)
        lines.append(f'print([notes["class_names"][index] for index in {scores}.argmax(1)])')
        return "\n".join(lines)

    @property
    def _is_picture(self) -> bool:
        """Whether inputs are images that Pillow can read: grey or colours of 8 bits."""
        is_image = len(self.input_shape) == 3 and self.input_shape[0] in (1, 3)
        return is_image and self.raw_dtype == "uint8" and self.full_scale == 255

    def _picture_lines(self, normalisation: Normalisation) -> list[str]:
        channels, height, width = self.input_shape
        mode = "L" if channels == 1 else "RGB"
        opened = 'PIL.ImageOps.exif_transpose(PIL.Image.open("image.png"))'
        bring = f"({width}, {height}), PIL.Image.Resampling.BILINEAR"
        if self.fit == "pad":
            bring += ', "black"'
        image = "image"
        if self.background is None:
            opened += f'.convert("{mode}")'
        else:
            # Pillow weights colours by their opacity when it resizes, so the background may be laid afterwards.
            opened += '.convert("RGBA")'
            grey = ", ".join([str(self.background)] * 3)
            plain = f'PIL.Image.new("RGBA", image.size, ({grey}, 255))'
            image = f'PIL.Image.alpha_composite({plain}, image).convert("{mode}")'
        array = f'numpy.asarray({image}, "float32").reshape(1, {height}, {width}, {channels}).transpose(0, 3, 1, 2)'
        return [
            f"image = PIL.ImageOps.{'pad' if self.fit == 'pad' else 'fit'}({opened}, {bring})",
            f"x = {self._scaled(array, normalisation)}",
        ]

    def _word_lines(self) -> list[str]:
        (length,) = self.input_shape
        unknown = f', index["{UNKNOWN}"]' if UNKNOWN in self.class_names else ""
        find = f"index.get(word{unknown})" if unknown else "index[word]"
        text = f'open("text.txt", encoding="utf-8").read().replace("\\n", " {END_OF_LINE} ").split()'
        return [
            'index = {word: place for place, word in enumerate(notes["class_names"])}',
            f"x = numpy.array([[{find} for word in {text}[:{length}]]])  # {length} words",
            'print(notes["class_names"][session.run(None, {"input": x})[0][0, -1].argmax()])',
        ]

    def _scaled(self, raw: str, normalisation: Normalisation) -> str:
        check_normalisation(normalisation)
        if normalisation == "inside":
            return raw
        shape = ", ".join(("-1", *("1" for _ in self.input_shape[1:])))
        mean, std = (
            f'numpy.reshape(notes["preprocessing"]["{name}"], ({shape}))' for name in ("mean", "std")
        )
        return f"({raw} / {self.full_scale!r} - {mean}) / {std}"


def check_normalisation(normalisation: str) -> None:
    """Raise unless `normalisation` is "inside" or "outside".

    Raises:
        ConfigurationError: `normalisation` is neither.
    """
    if normalisation not in ("inside", "outside"):
        raise ConfigurationError(
            f"normalisation must be 'inside' or 'outside' the exported graph, but got {shown(normalisation)}; use "
            "one of them"
        )
