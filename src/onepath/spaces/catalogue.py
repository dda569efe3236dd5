"""The ready-made spaces by name, and how to load a space of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onepath.errors import ConfigurationError, shown
from onepath.most import CHANNELS, CLASSES, PIXELS, WIDTH, check_most
from onepath.nn import Supernet
from onepath.nn.inputs import input_dtype
from onepath.own_code import blaming_own_code, load_own
from onepath.spaces.arguments import check_arguments
from onepath.spaces.darts import Darts
from onepath.spaces.darts_rnn import darts_rnn
from onepath.spaces.eas import Eas
from onepath.spaces.enas_macro import EnasMacro
from onepath.spaces.enas_micro import EnasMicro
from onepath.spaces.memory_banks import MemoryBanks
from onepath.spaces.mlp import Mlp
from onepath.spaces.mobilenet import mobilenet
from onepath.spaces.nasbench201 import NasBench201
from onepath.spaces.nasbench_macro import NasBenchMacro
from onepath.spaces.once_for_all import ofa_mobilenetv3, ofa_proxyless
from onepath.spaces.once_for_all_resnet import OnceForAllResNet
from onepath.spaces.proxylessnas import proxylessnas
from onepath.spaces.shufflenet import shufflenet, shufflenet_channels
from onepath.spaces.zen import ZenNas

SpaceBuilder = Callable[..., nn.Module]
"""A callable with some of `num_classes, input_size, in_channels, width` and its own arguments as parameters.

It returns a module with choices.
"""

BUILDERS: Mapping[str, SpaceBuilder] = {
    "shufflenet": shufflenet,
    "shufflenet-channels": shufflenet_channels,
    "mobilenet": mobilenet,
    "nasbench-macro": NasBenchMacro,
    "nasbench201": NasBench201,
    "darts": Darts,
    "enas-micro": EnasMicro,
    "enas-macro": EnasMacro,
    "eas": Eas,
    "smash": MemoryBanks,
    "proxylessnas": proxylessnas,
    "ofa-mobilenetv3": ofa_mobilenetv3,
    "ofa-proxyless": ofa_proxyless,
    "ofa-resnet50": OnceForAllResNet,
    "darts-rnn": darts_rnn,
    "zennas": ZenNas,
    "mlp": Mlp,
}

PAPER_SETTINGS: Mapping[str, tuple[int, int]] = {
    "shufflenet": (1000, 224),
    "shufflenet-channels": (1000, 224),
    "mobilenet": (1000, 224),
    "nasbench-macro": (10, 32),
    "nasbench201": (10, 32),
    "darts": (10, 32),
    "enas-micro": (10, 32),
    "enas-macro": (10, 32),
    "eas": (10, 32),
    "smash": (10, 32),
    "proxylessnas": (1000, 224),
    "ofa-mobilenetv3": (1000, 224),
    "ofa-proxyless": (1000, 224),
    "ofa-resnet50": (1000, 224),
    "darts-rnn": (10_000, 35),
    "zennas": (10, 32),
    "mlp": (1, 1),
}


HAND_MADE = ("shufflenet", "mobilenet", "nasbench-macro", "proxylessnas")
"""Spaces whose modules name the network that an expert would take, as `hand_made`."""


def names() -> tuple[str, ...]:
    """Return the names of the ready-made spaces."""
    return tuple(BUILDERS)


def paper_setting(name: str) -> tuple[int, int]:
    """Return the number of classes and the image side in pixels that the space's paper uses.

    For a language model, these are the number of words in the vocabulary and in a chunk. For a space of the user's own,
    they are those of ImageNet, 1000 and 224.
    """
    return PAPER_SETTINGS.get(name, (1000, 224))


def has_supernet(name: str) -> bool:
    """Tell whether the networks of a space share weights; networks of zennas are only trained stand-alone.

    Raises:
        ConfigurationError: there is no space of this name.
    """
    return bool(getattr(find(name), "shares_weights", True))


def example_shape(supernet: Supernet, input_size: int, in_channels: int) -> tuple[int, ...]:
    """Return the shape of one example of a space's input.

    Args:
        supernet: supernet of the space.
        input_size: side of an image in pixels, or words of a text.
        in_channels: channels of an image, or numbers in a row of a table.

    Returns:
        (in_channels, input_size, input_size) for images, (input_size,) for texts, (in_channels,) for tables.
    """
    if not input_dtype(supernet).is_floating_point:
        return (input_size,)
    if getattr(supernet.module, "reads_tables", False):
        return (in_channels,)
    return (in_channels, input_size, input_size)


def build(
    name: str | SpaceBuilder,
    num_classes: int,
    input_size: int | None = None,
    in_channels: int | None = None,
    width: float | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Supernet:
    """Build the supernet of a space.

    Args:
        name: one of `names()`; `path/to/file.py:function` for a space of the user's own; or the callable itself. The
            callable returns a module.
        num_classes: classes that the classifier tells apart; not passed to a user's callable that does not take it.
        input_size: height and width of the images in pixels; not passed to a user's callable that does not take it.
            None: the space's own default, also for the next two arguments.
        in_channels: channels of the images; not passed to a user's callable that does not take it.
        width: factor on the numbers of channels; an error if the callable does not take it.
        seed: seed of the initial weights. The same seed gives the same weights; torch's global generator is left
            alone.
        arguments: further arguments of this space; None values are left out.

    Raises:
        ConfigurationError: there is no such space, file or function; or the space does not take an argument or its
            value; or the user's callable fails or returns no module.
        BindingError: the module has no choices, or choices that contradict each other.
    """
    check_most(CLASSES, num_classes=num_classes)
    check_most(PIXELS, input_size=input_size or 0)
    check_most(CHANNELS, in_channels=in_channels or 0)
    check_most(WIDTH, width=width or 0)
    builder = find(name) if isinstance(name, str) else name
    given = {"num_classes": num_classes, "input_size": input_size, "in_channels": in_channels, "width": width}
    parameters = _parameters(builder, name)
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    required = {key: value for key, value in arguments.items() if value is not None}
    if width is not None:
        required["width"] = width
    unknown = [key for key in required if key not in parameters]
    if unknown and not takes_all:
        raise ConfigurationError(
            f"an argument of space {name} must be one of {', '.join(parameters)}, but got {shown(unknown[0])}; "
            "leave it out"
        )
    if isinstance(name, str) and name in BUILDERS:
        check_arguments(name, required)
    passed = {
        key: value for key, value in given.items() if value is not None and (takes_all or key in parameters)
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _called(builder, name, {**passed, **required})
    if not isinstance(module, nn.Module):
        raise ConfigurationError(
            f"a space must return a torch.nn.Module, but {name} returned {type(module).__name__}; return the module"
        )
    return Supernet(module)


def _parameters(builder: SpaceBuilder, name: object) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(builder).parameters
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"a space must be a function with named arguments, but those of {name} cannot be read: {error}; give a "
            "function of your own"
        ) from error


def _called(builder: SpaceBuilder, name: object, arguments: Mapping[str, Any]) -> object:
    """Call the builder and return its result; errors of the user's code or arguments become one-line messages."""
    try:
        signature = inspect.signature(builder)
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"a space must take {', '.join(arguments)} by name and need nothing else, but {name} takes "
            f"{', '.join(signature.parameters) or 'no argument'} ({error}); give its argument, or a default"
        ) from error
    with blaming_own_code():
        return builder(**arguments)


def find(name: str) -> SpaceBuilder:
    """Return the callable with a ready-made space's name, or the one behind `path/to/file.py:function`.

    A file is run as Python code: it is the user's own program.

    Raises:
        ConfigurationError: there is no space or function of that name; the message names the nearest one or the
            functions of the file.
    """
    if name in BUILDERS:
        return BUILDERS[name]
    path, function, builder = load_own(name, what="space", known=BUILDERS, forms="path/to/file.py:function")
    if not callable(builder):
        raise ConfigurationError(
            f"{path} must define the function of the space, but it has no callable {function!r}; check the name"
        )
    found: SpaceBuilder = builder
    return found
