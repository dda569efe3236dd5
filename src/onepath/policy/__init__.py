"""Learned policies over a search space, and the gradient by which their rewards train them."""

from onepath.policy.controller import Controller, Walked
from onepath.policy.gradient import MovingMean, PolicyGradient, surrogate_loss
from onepath.policy.growth import GrowthController
from onepath.policy.legal import LegalPolicy

__all__ = [
    "Controller",
    "GrowthController",
    "LegalPolicy",
    "MovingMean",
    "PolicyGradient",
    "Walked",
    "surrogate_loss",
]
