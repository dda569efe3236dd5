"""Trained networks made elastic: the model you have, smaller and faster."""

from onepath.conversion.converting import convert
from onepath.conversion.reach import reachable
from onepath.conversion.report import Conversion, Row

__all__ = ["Conversion", "Row", "convert", "reachable"]
