"""Models by name: built by a function of your own, by timm or by torchvision, with weights from a file."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError, shown
from onepath.nn.finite import not_finite
from onepath.own_code import blaming_own_code, is_own, load_own

LIBRARIES = ("timm", "torchvision")
_FORMS = "path/to/file.py:function"


def load_model(name: str, weights: str | Path | None = None, **sizes: int | None) -> nn.Module:
    """Build a model and load its weights; nothing is downloaded.

    Fresh weights are drawn with seed 0; torch's own random state is not changed.

    Args:
        name: "path/to/file.py:function", whose function returns a module and gets those of `sizes` that it has as
            parameters; or timm:NAME or torchvision:NAME if that library is installed.
        weights: a .safetensors file, or a file of torch.save that holds only tensors. None keeps the weights with which
            the model is built.
        sizes: `num_classes`, `in_channels` and `input_size` of the data; None where not known. A model of timm gets the
            first two, a model of torchvision `num_classes`.

    Returns:
        The model, in the mode in which it is built.

    Raises:
        ConfigurationError: there is no such model, its code fails, or the weights do not fit or are not finite.
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
        # A model may be built with infinities, as in the mask of an attention; the file has the same ones then.
        bad = not_finite(found[key])
        if bad is not None and not (bad == "infinity" and torch.equal(found[key].to(own[key]), own[key])):
            raise ConfigurationError(
                f"weights must be finite, but {shown(key)} holds {bad} in {path}; give weights from before they went "
                "wrong"
            )
    model.load_state_dict(found)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor of a .safetensors file or a file of torch.save, loaded on the CPU.

    If a file of torch.save holds a mapping with the entry `state_dict`, or else `model`, that entry is returned. The
    file cannot run code.

    Raises:
        ConfigurationError: the file cannot be read, or it holds anything but tensors by name.
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
    """Return the height and width in pixels that a model of timm is made for; 224 for any other model."""
    settings = getattr(model, "pretrained_cfg", None)
    size = settings.get("input_size") if isinstance(settings, Mapping) else None
    return int(size[-1]) if size else 224
