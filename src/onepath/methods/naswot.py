"""Neural architecture search without training.

Source: Mellor et al., "Neural Architecture Search without Training", ICML 2021 (arXiv 2006.04647): random networks are
scored by whether different inputs switch on different ReLUs, and the best one is trained. Differs from it: the networks
meet hard limits, none is drawn twice, and the score is the mean of theirs and of the number of layers, which ranks
better under a limit; any other score can take its place.
"""

from __future__ import annotations

from typing import ClassVar

from onepath import option_types as types
from onepath.methods.functions import function_of
from onepath.methods.scored import ScoredMethod
from onepath.option_types import option

POPULATION, GENERATIONS = 100, 9


class Naswot(ScoredMethod):
    """Score random networks without training, then train the best one; no supernet is trained."""

    name = "naswot"
    default_algorithm: ClassVar[str] = "random"

    population: types.Population | None = option(POPULATION, "Architectures per generation.", group="Search")
    generations: types.Generations | None = option(
        GENERATIONS, "Generations after the first.", group="Search"
    )
    proxy: types.Text = option(
        "nwot+layers",
        "Score without training that the search maximises, one of `onepath score`, or the mean of several, such as "
        "nwot+layers.",
        group="Search",
    )


naswot = function_of(Naswot, "Every scored architecture, and the best one trained; see `Scored`.")
