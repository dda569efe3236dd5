"""Make trained networks elastic, in order to find smaller and faster ones in them."""

from onepath.conversion.converting import convert
from onepath.conversion.reach import reachable
from onepath.conversion.report import Conversion, Row

__all__ = ["Conversion", "Row", "convert", "reachable"]
