"""Weights of many networks, kept by the text of their architecture: in memory, or as files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onepath.record.atomic import load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor


class MemoryWeights:
    """Keeps weights in memory, as they are."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, Tensor]] = {}

    def get(self, name: str) -> Mapping[str, Tensor] | None:
        """Return the weights of a network; None if it has none."""
        return self._known.get(name)

    def put(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Keep copies of the weights of a network."""
        self._known[name] = {key: tensor.clone() for key, tensor in weights.items()}


class FolderWeights:
    """Keeps weights as safetensors files, each written at once, so that a process that is killed leaves none in part.

    Args:
        folder: folder of the files; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> Mapping[str, Tensor] | None:
        """Return the weights of a network; None if it has none.

        Raises:
            RunDirectoryError: the file is damaged.
        """
        path = self._path(name)
        return load_tensors(path) if path.is_file() else None

    def put(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Write the weights of a network.

        Raises:
            RunDirectoryError: the file cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self._path(name), weights)

    def _path(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.safetensors"
