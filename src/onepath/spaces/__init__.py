"""Ready-made search spaces, one family per file; at a paper's settings, its space is exactly the paper's."""

from onepath.spaces.catalogue import (
    SpaceBuilder,
    build,
    example_shape,
    find,
    has_supernet,
    names,
    paper_setting,
)

__all__ = ["SpaceBuilder", "build", "example_shape", "find", "has_supernet", "names", "paper_setting"]
