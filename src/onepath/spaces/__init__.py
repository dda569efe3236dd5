"""Ready-made search spaces, one family a file, each exactly its paper's at the paper's settings."""

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
