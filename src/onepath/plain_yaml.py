"""YAML of bounded depth, without aliases, tags or doubled keys: what a file of options needs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from onepath.errors import shown

_MOST_DEPTH = 20
_MOST_CHARACTERS = 120


class _Loader(yaml.SafeLoader):
    """Refuses what could make a small file large, or one line of it silently replace another."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; see yaml.composer."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("must have no aliases (*name)")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise ValueError(f"must be nested at most {_MOST_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; see yaml.constructor."""
        keys: set[str] = set()
        for key in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key in keys:
                raise ValueError(f"must have each key once, but has {shown(key)} twice")
            keys.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Of no value; see yaml.representer."""
        del data
        return True


def write_yaml(content: Any) -> str:
    """The text of plain values that `read_yaml` reads back, in their order."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        ValueError: it is no YAML, or has aliases, tags of other types, doubled keys or more than 20 levels.
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def shown_line(error: Exception) -> str:
    """An error of `read_yaml` in one short line."""
    line = " ".join(str(error).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."
