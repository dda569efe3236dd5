"""All scores by name, and functions that compute one or several of them for a network."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.estimate.scores import (
    fisher,
    grad_norm,
    gradsign,
    grasp,
    jacob_cov,
    l2_norm,
    layers,
    macs,
    nwot,
    params,
    plain,
    snip,
    synflow,
    zen,
    zen_released,
)
from onepath.estimate.scores.definition import Score, ScoreDefinition
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.probe import GIBIBYTE, Loss, Probe

SCORES: Mapping[str, ScoreDefinition] = {
    module.DEFINITION.name: module.DEFINITION
    for module in (
        *(zen, zen_released, gradsign, synflow, grad_norm, snip, grasp, fisher),
        *(jacob_cov, nwot, l2_norm, plain, params, macs, layers),
    )
}
"""Name of a score -> its definition, in the order of the documentation."""


def score_definition(name: str) -> ScoreDefinition:
    """Return the definition of a score: what it needs, what it costs and where it fails.

    Raises:
        ConfigurationError: no score has this name; the message suggests the nearest name.
    """
    if name not in SCORES:
        near = difflib.get_close_matches(name, SCORES, n=1)
        advice = f"did you mean {near[0]}?" if near else "take one of these"
        raise ConfigurationError(f"a score must be one of {', '.join(SCORES)}, but got {name!r}; {advice}")
    return SCORES[name]


def score_definitions(text: str) -> list[ScoreDefinition]:
    """Return the definitions of the scores in a text such as "nwot+layers", of which the mean is taken.

    Raises:
        ConfigurationError: no score has one of these names, or one comes twice.
    """
    names = [name.strip() for name in text.split("+")]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"a mean takes each score once, but got {text!r}; leave one out")
    return [score_definition(name) for name in names]


def score(
    name: str,
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> float:
    """Compute one score of a network without training it; higher is better.

    Args:
        name: name of the score, see `SCORES`.
        model: network of plain torch layers, with the weights that are scored; not changed in any way.
        inputs: batch (B, ...) of inputs of the model; only the shape matters for a score that reads no data.
        targets: labels (B, ...) of the batch, for a score that needs them.
        seed: seed of every random draw of the score; the same seed gives the same value.
        options: options of the score, for example `norm="l2"` of zen; also `loss` and `max_memory_bytes` as in
            `scores`.

    Returns:
        The value; minus infinity for a degenerate network, about which the score can say nothing.

    Raises:
        ConfigurationError: the score or an option does not exist, the batch is empty, or labels are missing.

    Example:
        `score("zen", model, inputs, norm="l2", repeats=4)`
    """
    shared = {key: options.pop(key) for key in ("loss", "max_memory_bytes") if key in options}
    return scores([name], model, inputs, targets, seed=seed, options={name: options}, **shared)[name].value


def scores(
    names: Iterable[str],
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    seed: int = 0,
    max_memory_bytes: int = GIBIBYTE,
    loss: Loss | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    is_disposable: bool = False,
) -> dict[str, Score]:
    """Compute several scores of a network; passes that they share are computed once.

    `grad_norm`, `snip`, `plain` and `fisher` share one forward and one backward pass. Each value is equal to that of
    the score computed by itself.

    Args:
        names: names of the scores; a repeated name is in the result once.
        model: network of plain torch layers, with the weights that are scored; not changed, see `is_disposable`.
        inputs: batch (B, ...) of inputs of the model; only the shape matters for a score that reads no data.
        targets: labels (B, ...) of the batch, for scores that need them.
        seed: seed of every random draw of the scores.
        max_memory_bytes: approximate limit on the memory that gradients of single examples take at a time.
        loss: (outputs, targets) -> mean loss of a batch; cross-entropy by default.
        options: name of a score -> its options.
        is_disposable: True allows changing the model, which saves a copy; ignored for more than one score.

    Returns:
        Name -> score, in the order of `names`.

    Raises:
        ConfigurationError: a score or an option does not exist, the batch is empty, or labels are missing.
    """
    wanted = [score_definition(name) for name in dict.fromkeys(names)]
    if len(inputs) < 1:
        raise ConfigurationError("a batch must hold an example, but got none; give one or more")
    unlabelled = [
        definition.name for definition in wanted if "labels" in definition.needs and targets is None
    ]
    if unlabelled:
        raise ConfigurationError(
            f"{unlabelled[0]} needs labels, but got targets=None; give the batch's targets"
        )
    probe = Probe(
        model,
        inputs,
        targets,
        seed=seed,
        loss=loss,
        max_memory_bytes=max_memory_bytes,
        needs_activations=any(definition.name == "fisher" for definition in wanted),
        is_disposable=is_disposable and len(wanted) == 1,
    )
    given = options or {}
    return {
        definition.name: _score(definition, probe, given.get(definition.name, {})) for definition in wanted
    }


def _score(definition: ScoreDefinition, probe: Probe, options: Mapping[str, Any]) -> Score:
    allowed = set(definition.compute.__kwdefaults__ or ())
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise ConfigurationError(
            f"an option of {definition.name} must be one of {', '.join(sorted(allowed)) or 'none'}, but got "
            f"{unknown[0]}; leave it out"
        )
    started = time.perf_counter()
    devices = [probe.device] if probe.device.type == "cuda" else []
    reason = None
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(probe.seed)  # for networks that draw random numbers in their forward pass
        try:
            value = definition(probe, **options)
        except DegenerateNetworkError as error:
            value, reason = -math.inf, str(error)
    if reason is None and not math.isfinite(value):
        value, reason = (
            -math.inf,
            "the value is not finite: numbers overflow, or weights or data are not finite",
        )
    return Score(value, reason, time.perf_counter() - started)
