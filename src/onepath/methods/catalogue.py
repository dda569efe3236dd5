"""The methods by the names that users call them."""

from __future__ import annotations

from collections.abc import Mapping

from onepath.methods.darts import Darts
from onepath.methods.fairnas import Fairnas
from onepath.methods.gdas import Gdas
from onepath.methods.method import Method
from onepath.methods.one_shot import OneShot
from onepath.methods.proxyless import Proxyless
from onepath.methods.random_networks import RandomNetworks
from onepath.methods.spos import Spos
from onepath.methods.zen import Zen

METHODS: Mapping[str, type[Method]] = {
    kind.name: kind for kind in (Spos, Fairnas, OneShot, Darts, Gdas, Proxyless, Zen, RandomNetworks)
}
