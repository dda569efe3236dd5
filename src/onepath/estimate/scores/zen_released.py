"""`zen_released`: Zen-score as its released code computes it, for comparison.

Source: the released code of "Zen-NAS" (arXiv 2102.01063). Unlike in `zen`, the deviations of the normalisations come
from running variances: they begin at 1, take 10 % of each new batch, and continue from repeat to repeat. After the two
passes of the first repeat the deviation of a layer is `sqrt(0.19 variance + 0.81)`, and the score drifts with the
number of repeats.
"""

from __future__ import annotations

import contextlib
import math

from onepath.estimate.scores.definition import ScoreDefinition
from onepath.estimate.scores.probe import Probe
from onepath.estimate.scores.tracing import Trace
from onepath.estimate.scores.zen import ALPHA, check, draw_gaussian_, mean_distance

_MOMENTUM = 0.1


def zen_released(probe: Probe, *, alpha: float = ALPHA, repeats: int = 1) -> float:
    """Compute `zen` with the L1 norm and with running variances that start at 1; higher is better.

    Args:
        probe: network and batch; only the shape, dtype and device of the inputs matter, labels are not used.
        alpha: size of the perturbation of the input.
        repeats: number of draws of weights and inputs over which the score is averaged.

    Raises:
        ConfigurationError: an option is out of range.
        DegenerateNetworkError: the features do not depend on the input, or overflow.
    """
    check("l1", alpha, repeats)
    network = probe.copy()
    running: dict[int, float] = {}  # number of a layer -> mean over channels of its running variances
    values = []
    with contextlib.closing(Trace(network)) as trace:
        for repeat in range(repeats):
            draw_gaussian_(network, probe, repeat)
            x = probe.normal("zen input", probe.inputs.shape, repeat)
            noise = probe.normal("zen noise", probe.inputs.shape, repeat)
            features = []
            for inputs in (x, x + alpha * noise):
                features.append(trace.run(inputs))
                for layer, variances, num in trace.variances():
                    unbiased = float(variances.mean()) * num / max(num - 1, 1)
                    running[layer] = (1 - _MOMENTUM) * running.get(layer, 1.0) + _MOMENTUM * unbiased
            difference = mean_distance(features[0], features[1], "l1")
            values.append(math.log(difference) + sum(0.5 * math.log(value) for value in running.values()))
    return sum(values) / repeats


DEFINITION = ScoreDefinition(
    "zen_released",
    zen_released,
    needs=("random input",),
    cost="2 forward a repeat",
    direction="stronger reaction is taken as better",
    known_failure="about 0.8 less for each normalisation than the formula, less so with every repeat",
    reads_weights=False,
)
