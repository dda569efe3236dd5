"""A supernet's estimates of architectures whose accuracy is known, each stored, and the similarity of candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from onepath.estimate import SupernetEstimator, feature_similarity
from onepath.nn import ChoiceBlock
from onepath.randomness import generator
from onepath.record import EstimateStore
from onepath.record.atomic import file_digest
from onepath.record.estimates import ESTIMATES
from onepath.runs import SUPERNET, Run, StageClock
from onepath.space import Architecture
from onepath.studies.comparison import RankOptions

_SIMILARITY_IMAGES = 64


def estimate_by_supernet(
    run: Run, clock: StageClock, architectures: Sequence[Architecture], options: RankOptions
) -> dict[str, list[float]]:
    """Estimate architectures with the run's supernet; estimates that are stored are not computed again.

    Args:
        run: a run with a trained supernet.
        clock: clock of the stage, which counts the time spent.
        architectures: architectures to estimate.
        options: gives the scores that are wanted and the numbers of images.

    Returns:
        Name of a score -> its value for each architecture, higher is better: the loss is negated, and a value that is
        not finite is minus infinity.
    """
    config = run.config
    calibration, validation = _num_images(run, options)
    digest = file_digest(run.directory.weights_path(SUPERNET)) or ""
    setting = f"supernet {digest[:16]}, calibration {calibration}, validation {validation}"
    with EstimateStore(run.path / ESTIMATES) as store:
        known = store.read(setting)
        left = [architecture for architecture in architectures if str(architecture) not in known]
        if left:
            estimator = SupernetEstimator(
                run.trained,
                run.task,
                calibration_images=calibration,
                validation_images=validation,
                device=config.train_on,
                seed=int(generator(config.seed, "estimate").integers(2**31)),
                precision=config.precision,
            )
            run.progress.begin("estimating", len(architectures), len(architectures) - len(left))
            for place, architecture in enumerate(left, len(architectures) - len(left) + 1):
                found = estimator.estimate(architecture)
                numbers = {"accuracy": found.accuracy, "loss": found.loss}
                store.put(setting, str(architecture), numbers, found.seconds)
                run.progress.advance(place)
                clock.tick()
            run.progress.finish()
            known = store.read(setting)
    signs = {"accuracy": 1.0, "loss": -1.0}
    return {
        name: [_number(known[str(architecture)][name], signs[name]) for architecture in architectures]
        for name in options.scores
    }


def layer_similarity(run: Run, options: RankOptions) -> dict[str, Any]:
    """Compare the outputs of the candidates of each choice block on a batch of training images.

    Returns:
        Path of a block -> "names" and "matrix" of its `LayerSimilarity`; empty if the options leave the comparison out,
        the supernet has no choice blocks, or the inputs are not images.
    """
    has_blocks = any(isinstance(part, ChoiceBlock) for part in run.trained.modules())
    if not options.similarity_paths or not has_blocks or len(run.input_shape) != 3:
        return {}
    images = next(iter(run.task.batches("train", _SIMILARITY_IMAGES, num_examples=_SIMILARITY_IMAGES)))[0]
    device = next(run.trained.parameters()).device
    rng = generator(options.seed, "similarity paths")
    found = feature_similarity(run.trained, images.to(device), rng, num_paths=options.similarity_paths)
    return {path: asdict(layer) for path, layer in found.items()}


def supernet_note(run: Run, options: RankOptions) -> str:
    """Return a sentence on how the supernet's scores were computed, with the numbers of images used."""
    calibration, validation = _num_images(run, options)
    return (
        "Scores: the weights of the supernet, its normalisation recalibrated on "
        f"{calibration:,} training images for each architecture, on {validation:,} validation images."
    )


def _num_images(run: Run, options: RankOptions) -> tuple[int, int]:
    """Return the numbers of images for calibration and for validation: as asked for, but at most all of them."""
    num_train, num_validation = run.task.num_examples("train"), run.task.num_examples("validation")
    calibration = options.calibration_images or run.config.calibration_images
    validation = options.validation_images or run.config.validation_images
    return min(calibration or num_train, num_train), min(validation or num_validation, num_validation)


def _number(value: float | None, sign: float) -> float:
    return -math.inf if value is None else sign * value
