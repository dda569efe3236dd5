"""The catalogue of methods by the names that users write."""

from __future__ import annotations

from collections.abc import Mapping

from onepath.errors import ConfigurationError, shown
from onepath.methods.darts import Darts
from onepath.methods.eas import Eas
from onepath.methods.enas import Enas
from onepath.methods.fairnas import Fairnas
from onepath.methods.fastnas import FastNas
from onepath.methods.fixed import Fixed
from onepath.methods.gdas import Gdas
from onepath.methods.ghn import Ghn
from onepath.methods.method import Method
from onepath.methods.naswot import Naswot
from onepath.methods.ofa import Ofa
from onepath.methods.one_shot import OneShot
from onepath.methods.proxyless import Proxyless
from onepath.methods.puzzle import Puzzle
from onepath.methods.random_networks import RandomNetworks
from onepath.methods.rl import Rl
from onepath.methods.sandwich import Sandwich
from onepath.methods.smash import Smash
from onepath.methods.spos import Spos
from onepath.methods.zen import Zen
from onepath.own_code import is_own, load_own

GIVEN_IN_PYTHON = "python:"

METHODS: Mapping[str, type[Method]] = {
    kind.name: kind
    for kind in (
        Spos,
        Fairnas,
        OneShot,
        Sandwich,
        Ofa,
        FastNas,
        Puzzle,
        Darts,
        Gdas,
        Proxyless,
        Enas,
        Smash,
        Ghn,
        Zen,
        Naswot,
        Rl,
        Eas,
        RandomNetworks,
        Fixed,
    )
}


def find_method(given: object) -> type[Method]:
    """Return the class of a method.

    A file is run as Python code: it is the user's own program.

    Args:
        given: the name of a method, path/to/file.py:Class for a class of the user's own, or the class itself.

    Raises:
        ConfigurationError: there is no such method, or `given` names a method that was given as a class in Python and
            must be given as a class again.
    """
    if isinstance(given, type) and issubclass(given, Method):
        return given
    text = str(given)
    if text in METHODS:
        return METHODS[text]
    if text.startswith(GIVEN_IN_PYTHON):
        raise ConfigurationError(
            f"a method given in Python must be given again to continue, but only {shown(text)} came; call "
            "onepath.run with the same method"
        )
    if not is_own(text):
        raise ConfigurationError(
            f"method must be one of {', '.join(METHODS)}, or path/to/file.py:Class, but got {shown(text)}; change it"
        )
    path, name, kind = load_own(text, what="method", known=METHODS, forms="path/to/file.py:Class")
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise ConfigurationError(
            f"{path} must define the class of a method, but {name!r} is no subclass of onepath.methods.Method; "
            "check the name"
        )
    return kind
