"""Read and write the part of YAML that a file of options needs: limited depth, no aliases, tags or duplicate keys."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from onepath.errors import shown

_MOST_DEPTH = 20
_MOST_CHARACTERS = 120


class _Loader(yaml.SafeLoader):
    """Refuses YAML that makes a small file large, or that lets one line silently replace another."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return a node, unless it is an alias or nested too deeply; see yaml.composer."""
        if self.check_event(yaml.AliasEvent):
            raise ValueError("must have no aliases (*name)")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise ValueError(f"must be nested at most {_MOST_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping, unless it has a key twice; see yaml.constructor."""
        keys: set[str] = set()
        for key in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key in keys:
                raise ValueError(f"must have each key once, but has {shown(key)} twice")
            keys.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs in two places twice, and not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True for every value, so that no alias is written; see yaml.representer."""
        del data
        return True


def write_yaml(content: Any) -> str:
    """Return plain values as a YAML text that `read_yaml` reads back; keys keep their order."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_yaml(text: str) -> Any:
    """Return the content of a YAML text.

    Raises:
        ValueError: the text is not YAML, or has aliases, tags of other types, duplicate keys or more than 20 levels.
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def shown_line(error: Exception) -> str:
    """Return an error of `read_yaml` as one line of at most 120 characters and an ellipsis."""
    line = " ".join(str(error).split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."
