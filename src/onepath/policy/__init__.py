"""Learned policies over a search space, and the gradient by which their rewards train them."""

from onepath.policy.controller import Controller, Walked
from onepath.policy.gradient import MovingMean, PolicyGradient, surrogate_loss

__all__ = ["Controller", "MovingMean", "PolicyGradient", "Walked", "surrogate_loss"]
