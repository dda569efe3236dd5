"""Shared by benchmarks that train with CIFAR-10 into one directory, in processes that each do a part."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onepath.data import Task, load_data
from onepath.errors import ConfigurationError, UserError


def run_command(
    commands: Mapping[str, Callable[[argparse.Namespace], None]], options: argparse.Namespace
) -> None:
    """Run `options.command` on `options.out`; a user's mistake or Ctrl-C ends it with a single line."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        commands[options.command](options)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("stopped: the same command continues") from None


def add_data_options(add: Callable[..., Any]) -> None:
    """Add the options that `load_cifar` reads, and those of seed, threads and device."""
    add("--data", type=Path, help="CIFAR-10's training images, .parquet")
    add("--test-data", type=Path, help="CIFAR-10's test images, .parquet; they are not used")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--device", default="cpu")


def load_cifar(options: argparse.Namespace, input_size: int | None = None) -> Task:
    """Return CIFAR-10, 45,000 images to train and 5,000 to validate; with --num-images fewer of each."""
    if options.data is None or options.test_data is None:
        raise ConfigurationError(f"{options.command} needs --data and --test-data, but got none; give both")
    if options.num_images is None:
        return load_data(str(options.data), test=str(options.test_data), input_size=input_size, seed=0)
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(options.data, columns=["image", "label"]).slice(0, options.num_images)
    encoded = [image["bytes"] if isinstance(image, dict) else image for image in table["image"].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in encoded])
    return load_data((pixels, table["label"].to_numpy()), input_size=input_size, seed=0)


def check_setting(stored: Mapping[str, Any], given: Mapping[str, Any], out: Path) -> None:
    """Raise ConfigurationError unless the stored setting of a directory equals the given one."""
    changed = [
        f"{name}: {stored.get(name)} -> {value}" for name, value in given.items() if stored.get(name) != value
    ]
    if changed:
        raise ConfigurationError(
            f"all trainings of a directory have one setting, but {out} has another ({'; '.join(changed)}); "
            "give another --out"
        )
