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
        └── RunDirectoryError     a run directory that cannot be written, read or continued

Every message is one line: the rule, what came, what to do.
"""

from __future__ import annotations


class UserError(ValueError):
    """A mistake the caller can mend; the message says how."""


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


class RunDirectoryError(UserError):
    """A run directory cannot be written, read or continued."""
