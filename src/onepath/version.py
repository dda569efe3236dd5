"""The version of onepath."""

__version__ = "0.1.0"
