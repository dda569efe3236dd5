"""Zen-NAS.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063),
Algorithm 1: networks of a population are mutated; networks that exceed the budget are thrown away, the others are
scored without training, and the worst leaves the population; the best network at the end is trained. Differs from it:
limits are hard and the first population is drawn inside them; 4,096 networks are scored where the paper scores
480,000; a mutation changes one choice; any score can take the place of Zen-score; the training is scaled to the size of
the data.
"""

from __future__ import annotations

from typing import ClassVar

from onepath import option_types as types
from onepath.methods.functions import function_of
from onepath.methods.scored import ScoredMethod
from onepath.option_types import option

# 4,096 networks take minutes on two cores if a network has 20 million macs.
POPULATION, GENERATIONS = 512, 7


class Zen(ScoredMethod):
    """Search by a score without training, then train the network found; no supernet is trained."""

    name = "zen"
    space: ClassVar[str] = "zennas"
    default_algorithm: ClassVar[str] = "mutation-evolution"

    population: types.Population | None = option(POPULATION, "Architectures per generation.", group="Search")
    generations: types.Generations | None = option(
        GENERATIONS, "Generations after the first.", group="Search"
    )


zen = function_of(Zen, "Every scored architecture, and the best one trained; see `Scored`.")
