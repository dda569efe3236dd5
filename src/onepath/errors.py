"""The errors a user can cause, in one tree.

::

    ValueError
    └── UserError                 the caller's mistake; the command line exits with 2
        ├── SpaceError            a search space or an architecture that is not well formed
        ├── BindingError          a module whose choices do not fit together; names the module's path
        ├── ShapeError            an input shape that the network rejects
        ├── DataError             data that cannot be read or cannot be learned from
        ├── InfeasibleError       a limit that no architecture, or too few, can meet
        ├── ConfigurationError    an option that does not exist or does not fit the others
        │   └── UnnamedCodeError     only a file names code of the user's own; the caller must name it
        └── RunDirectoryError     a run directory that cannot be written, read or continued
            └── DirectoryInUseError  another process works on it

Every message is one line: the rule, what came, what to do.
"""

from __future__ import annotations


class UserError(ValueError):
    """A mistake the caller can fix; the message says how."""


class SpaceError(UserError):
    """A search space or an architecture is not well formed."""


class BindingError(UserError):
    """The choices of a module do not fit together; the message names the module's path."""


class ShapeError(UserError):
    """The network rejects the input shape."""


class DataError(UserError):
    """Data cannot be read, or cannot be learned from."""


class InfeasibleError(UserError):
    """No architecture, or too few of them, meets the limit."""


class ConfigurationError(UserError):
    """An option does not exist or does not fit the others."""


class UnnamedCodeError(ConfigurationError):
    """Only a file names code of the user's own; whoever runs the code must name it as well."""


class RunDirectoryError(UserError):
    """A run directory cannot be written, read or continued."""


class DirectoryInUseError(RunDirectoryError):
    """Another process works on the run directory."""


def shown(value: object, most: int = 80) -> str:
    """Return a value that came from outside as text for one line of a message: `repr` of text, `str` of the rest.

    Control characters are escaped, so that a file cannot write to the terminal through a message.

    Args:
        value: the value to show.
        most: number of characters kept; for a text that is cut, its full length is added.
    """
    text = repr(value[: most + 1]) if isinstance(value, str) else _plain_text(value, most)
    text = _printable(text)
    if len(text) <= most:
        return text
    total = f" ({len(value):,} characters)" if isinstance(value, str) else ""
    return f"{text[:most]}...{total}"


def plain(value: object, most: int = 120) -> str:
    """Return a path or the output of another program as text for a message, without quotes.

    Control characters are escaped. Of a text that is too long, the end is kept.

    Args:
        value: the value to show.
        most: number of characters kept.
    """
    text = str(value)
    if len(text) > most:
        text = f"...{text[-most:]}"
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _plain_text(value: object, most: int) -> str:
    """Return the text of a value that is not a text; a huge whole number is described and not written out."""
    if isinstance(value, int) and value.bit_length() > 4 * most:
        return f"a number of about {value.bit_length() * 30103 // 100000:,} digits"
    return str(value)
