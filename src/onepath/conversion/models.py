"""Models by name: a function of the user's own, timm's or torchvision's, with weights from a file."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, shown
from onepath.own_code import blaming_own_code, is_own, load_own

LIBRARIES = ("timm", "torchvision")
_FORMS = "path/to/file.py:function"


def load_model(name: str, weights: str | Path | None = None, **sizes: int | None) -> nn.Module:
    """Build a model and read its weights; nothing is downloaded.

    Args:
        name: path/to/file.py:function, where the function returns a module and takes those of `sizes` that it names;
            timm:NAME or torchvision:NAME, where that library is installed, with `num_classes` outputs.
        weights: a .safetensors file, or one of torch that holds tensors alone; None leaves those that it is built with.
        sizes: `num_classes`, `in_channels` and `input_size` of the data; None where not known.

    Raises:
        ConfigurationError: there is no such model, its code fails, or the weights do not fit.
    """
    given = {key: value for key, value in sizes.items() if value is not None}
    library, separator, own = name.partition(":")
    if separator and library in LIBRARIES and not is_own(name):
        model = _of_library(library, own, given)
    else:
        model = _of_file(name, given)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"a model must be a torch.nn.Module, but {name} returned {type(model).__name__}; return the module"
        )
    if weights is not None:
        _take_weights(model, Path(weights))
    return model


def _of_file(name: str, given: Mapping[str, int]) -> Any:
    path, function, build = load_own(
        name, what="model", known=[f"{each}:NAME" for each in LIBRARIES], forms=_FORMS
    )
    if not callable(build):
        raise ConfigurationError(
            f"{path} must define the function of the model, but it has no callable {function!r}; check the name"
        )
    return _called(build, name, given)


def _called(build: Callable[..., Any], name: str, given: Mapping[str, int]) -> Any:
    try:
        parameters = inspect.signature(build).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        passed = {key: value for key, value in given.items() if takes_all or key in parameters}
        inspect.signature(build).bind(**passed)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the function of a model must need nothing but num_classes, in_channels and input_size, but {name} does "
            f"({error}); give its other arguments a default"
        ) from error
    with torch.random.fork_rng(devices=[]), blaming_own_code():
        torch.manual_seed(0)
        return build(**passed)


def _of_library(library: str, name: str, given: Mapping[str, int]) -> Any:
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        raise ConfigurationError(
            f"{library}:{name} needs {library}, which is not installed; run `pip install {library}`"
        ) from error
    options: dict[str, Any] = {}
    if "num_classes" in given:
        options["num_classes"] = given["num_classes"]
    if library == "timm":
        build, options["pretrained"] = module.create_model, False
        if "in_channels" in given:
            options["in_chans"] = given["in_channels"]
    else:
        build, options["weights"] = module.models.get_model, None
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(name, **options)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{library} must have a model {shown(name)} of these sizes, but it raised {shown(str(error), 160)}; see "
            "its list of models"
        ) from error


def _take_weights(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(f"weights must be a file, but {path} does not exist; check the path")
    found = read_weights(path)
    own = model.state_dict()
    for key in [*own, *found]:
        if key not in found or key not in own:
            where = "is not in the file" if key not in found else "is not of the model"
            raise ConfigurationError(
                f"weights must fit the model, but {shown(key)} {where}, {path}; give its own"
            )
        if found[key].shape != own[key].shape:
            raise ConfigurationError(
                f"weights must fit the model, but {shown(key)} has shape {tuple(found[key].shape)} in {path} and "
                f"{tuple(own[key].shape)} in the model; give its own"
            )
    model.load_state_dict(found)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a .safetensors file, or of one that torch wrote; never more than tensors is read.

    Raises:
        ConfigurationError: it is neither, or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigurationError(
            f"weights must be a .safetensors file or tensors that torch.save wrote, but {path} cannot be read as one "
            f"({type(error).__name__}: {shown(str(error), 120)}); save model.state_dict()"
        ) from error
    found = found.get("state_dict", found.get("model", found)) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigurationError(
            f"weights must be a mapping of names to tensors, but {path} holds something else; save model.state_dict()"
        )
    return dict(found)


def input_size_of(model: nn.Module) -> int:
    """Height and width in pixels that a model of timm says it is made for; 224 of any other."""
    settings = getattr(model, "pretrained_cfg", None)
    size = settings.get("input_size") if isinstance(settings, Mapping) else None
    return int(size[-1]) if size else 224
