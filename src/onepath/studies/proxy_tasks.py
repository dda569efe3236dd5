"""Proxy tasks: what a training is cut down by, read from an option, and each reduction alone and all together."""

from __future__ import annotations

import dataclasses
import re

from onepath.errors import ConfigurationError, shown
from onepath.estimate.proxy import Proxy
from onepath.runs import Run
from onepath.train.checks import check_supernet

TOGETHER = "all together"
_NAMES = tuple(field.name for field in dataclasses.fields(Proxy))
_WHOLE = Proxy()
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII)


def parse_proxy_task(text: str) -> Proxy:
    """Return the reductions in a text such as "epochs=1,subset=0.1,width=0.5,resolution=16"; any of them may be absent.

    Raises:
        ConfigurationError: a name is unknown or comes twice, a value is not a number or is out of its range, or a
            reduction leaves everything as it is.
    """
    values: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = (each.strip() for each in item.partition("="))
        if name not in _NAMES or not _NUMBER.fullmatch(value):
            raise ConfigurationError(
                f"a proxy task must be written as name=number, with the names {', '.join(_NAMES)} and commas between, "
                f"but got {shown(item)}; change it"
            )
        if name in values:
            raise ConfigurationError(f"a proxy task must have each name once, but got {name} twice; drop one")
        values[name] = float(value)
    pixels = values.get("resolution", 1)
    if pixels != int(min(pixels, 1e9)):
        raise ConfigurationError(
            f"the resolution of a proxy task must be a whole number of pixels, but got {pixels:g}; change it"
        )
    for name in ("subset", "width"):
        if values.get(name, 0) >= 1:
            raise ConfigurationError(
                f"`{name} < 1` must hold for a proxy task, but got {name}={values[name]:g}; lower it"
            )
    given = {name: int(value) if name == "resolution" else value for name, value in values.items()}
    return Proxy(**given)  # type: ignore[arg-type]


def proxy_tasks(run: Run, reductions: Proxy) -> dict[str, Proxy]:
    """Return each reduction alone, with the rest as in a whole training of the run, and all of them together.

    Args:
        run: gives the epochs of a whole training, the data and the space.
        reductions: what differs from `Proxy()` is a reduction.

    Returns:
        Title, such as "width 0.5" -> the proxy, with its epochs. "all together" is last, if there are two or more.

    Raises:
        ConfigurationError: there is no reduction, one is not below the whole, or the space or the data cannot be
            reduced in this way.
        ShapeError: the networks do not accept the smaller images.
    """
    whole = whole_training(run)
    values = {name: getattr(reductions, name) for name in _NAMES}
    given = {name: value for name, value in values.items() if value != getattr(_WHOLE, name)}
    if not given:
        raise ConfigurationError(
            f"a proxy task must reduce one of {', '.join(_NAMES)}, but got {reductions}; give one"
        )
    together = dataclasses.replace(whole, **given)
    # Mistakes are found before anything is trained.
    supernet = run.blank if together.width == 1 else run.at_width(together.width)
    check_supernet(supernet, together.task(run.task, run.config.seed))
    ends = {
        "epochs": whole.epochs,
        "resolution": min(run.input_shape[1:]) if "resolution" in given else None,
    }
    for name, end in ends.items():
        if name in given and end is not None and given[name] >= end:
            raise ConfigurationError(
                f"`{name} < {end:g}`, its value in a whole training of this run, must hold for a proxy task, but got "
                f"{name}={given[name]:g}; lower it"
            )
    found = {
        f"{name} {value:g}": dataclasses.replace(whole, **{name: value}) for name, value in given.items()
    }
    return found if len(found) == 1 else {**found, TOGETHER: together}


def whole_training(run: Run) -> Proxy:
    """Return the proxy that is a run's whole stand-alone training: only its number of epochs is set."""
    recipe = run.finishing_recipe("scratch")
    assert recipe is not None, "a training from scratch has a recipe"
    return Proxy(recipe.epochs)
