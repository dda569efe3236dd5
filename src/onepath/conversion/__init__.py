"""Trained networks made elastic: the model you have, smaller and faster."""

from onepath.conversion.convert import convert
from onepath.conversion.report import Conversion, Row

__all__ = ["Conversion", "Row", "convert"]
