"""What a command means for the run in its directory: continue it, start it over while it is empty, or be refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.methods import METHODS, find_method
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.own_code import is_own, is_same, unnamed_code
from onepath.record.directory import CONFIG, read_config
from onepath.runs.code import CODE, same_code
from onepath.runs.config import RunConfig, python_only, written
from onepath.runs.making import differences, given_names, make_config, read_stored

_ORIGIN = frozenset({"space", "model"})
_OF_ORIGIN = frozenset({"space_arguments", "width", "weights"})


def continued_config(given: Mapping[str, Any]) -> RunConfig:
    """Return the configuration asked for: the given options, completed by those of the run in `out` if there is one.

    So `out` alone continues a run. When the run is opened, the given options are compared with those of the directory;
    see `changes`.

    Args:
        given: option name -> value, for the options that were given.

    Raises:
        ConfigurationError: an option is wrong, or the directory names code of the user's own that was not given again.
        RunDirectoryError: the directory holds no configuration of this onepath, or one of a method of the user's own
            where a method of onepath is asked for.
    """
    path = Path(given.get("out") or "").expanduser()
    if given.get("out") is None or not os.path.isfile(path / CONFIG):  # false for an invalid path
        return make_config(given)
    kind = None if given.get("method") is None else find_method(given["method"])
    stored = read_config(path) or {}
    if is_own(stored.get("method")) and given.get("method") in METHODS:  # which has other options
        raise other_options(path, [f"method: {stored['method']} -> {given['method']}"])
    began = read_stored(stored, path, kind)
    given = _with_model(given, began)
    _check_named(given, began, path)
    try:
        config = make_config({**began.as_dict(), **given}, kind)
    except ConfigurationError:
        # An option that is wrong by itself raises its own error here; others do not fit those of the directory.
        return make_config(given)
    config._given &= given_names(given)
    return config


def _with_model(given: Mapping[str, Any], began: RunConfig) -> Mapping[str, Any]:
    """Return the given options with a model of the run under both of its names; a run stores it as its space too."""
    model, space = given.get("model"), given.get("space")
    if began.model is None or (model is None) == (space is None):
        return given
    if model is not None:
        return {**given, "space": model}
    # Code of the user's own is named again by either option, and its file may have moved.
    space = str(space)
    has_same_name = space.rpartition(":")[2] == began.model.rpartition(":")[2]
    names_model = is_same(space, began.model) or (is_own(space) and is_own(began.model) and has_same_name)
    return {**given, "model": space} if names_model else given


def _check_named(given: Mapping[str, Any], began: RunConfig, path: Path) -> None:
    """Raise unless the options name each code of the user's own in the directory, or something else in its place."""
    named = {**given, "space": given.get("space") or given.get("model")}
    for name in CODE:
        stored = getattr(began, name)
        if named.get(name) is None and is_own(stored):
            shown_as = "model" if name == "space" and began.model is not None else name
            raise unnamed_code(path, shown_as, stored)


def changes(config: RunConfig, began: RunConfig, facts: Mapping[str, Any]) -> tuple[RunConfig, list[str]]:
    """Return the configuration that a run continues with, and how the options asked for differ from it.

    Args:
        config: the options asked for; only those that were given are compared.
        began: the options of the directory.
        facts: facts about the run.

    Returns:
        The options of the directory, with the present path of code whose file has moved; and each difference as
        "option: old -> new". With a difference, the run does not continue.
    """
    is_origin = bool(_ORIGIN & config.given)
    names = config.given | (_ORIGIN if is_origin else frozenset())
    asked = {name: value for name, value in config.as_dict().items() if name in names}
    stored = began.as_dict()
    moved = {
        name: asked[name] for name in (*CODE, "model") if _is_stored(name, began, asked.get(name), facts)
    }
    for name, split in (("calibration_images", "train"), ("validation_images", "validation")):
        if asked.get(name) is not None and split in facts:  # the split has no more; None asks for all
            asked[name] = min(asked[name], facts[split])
            stored[name] = min(stored[name] or facts[split], facts[split])
    same = {name: old for name, old in facts.get("rewritten", {}).items() if asked.get(name) == old}
    changed = differences({name: {**stored, **moved, **same}.get(name) for name in asked}, asked)
    shares = facts.get("percentages", {})
    for name, values in config.percentages.items():
        if shares.get(name) != list(values):
            old = f"{written(shares[name])} %" if name in shares else written(stored.get(name))
            changed.append(f"{name}: {old} -> {written(values)} %")
    only = {name: getattr(config.options, name) for name in python_only(config.options) & config.given}
    return began.changed(**moved, **only, out=config.out or began.out), changed


def rewritten(asked: RunConfig, resolved: RunConfig) -> dict[str, Any]:
    """Return the given options of which a run stores another form, as they were given: option name -> value.

    An example is an architecture in a space's own notation, which is stored as option indices.

    Args:
        asked: the options that were given.
        resolved: the options that the run stores.
    """
    old, new = asked.as_dict(), resolved.as_dict()
    return {name: old[name] for name in sorted(asked.given) if name in old and old[name] != new.get(name)}


def _is_stored(name: str, began: RunConfig, asked: str | None, facts: Mapping[str, Any]) -> bool:
    """Whether a space, model, device or method is that of the directory, perhaps in a file that has moved."""
    stored = getattr(began, name)
    return bool(stored and asked) and same_code(name, str(stored), str(asked), facts)


def other_options(path: Path, changed: Sequence[str]) -> RunDirectoryError:
    """Return the error for options that differ from those that a run began with; see `changes`."""
    return RunDirectoryError(
        f"a run continues with the configuration it began with, but {path} has another ({'; '.join(changed)}); "
        "leave these out, give another --out, or start over with --fresh"
    )


def restarted_config(config: RunConfig, began: RunConfig, facts: Mapping[str, Any]) -> RunConfig | None:
    """Return the configuration with which a run starts over in which nothing has been computed.

    It has the options that were given when the run began, with the options that are given now in their place. Defaults
    are filled in anew.

    Args:
        config: the options asked for.
        began: the options of the directory.
        facts: facts about the run, with the names of the options that were given under "given".

    Returns:
        None if the run was begun by an onepath that did not keep these names, or the options do not fit each other.
    """
    if "given" not in facts:
        return None
    known, asked = first_given(began, facts), given_options(config)
    if any(not _is_stored(name, began, asked[name], facts) for name in _ORIGIN & asked.keys()):
        known = {name: value for name, value in known.items() if name not in _ORIGIN | _OF_ORIGIN}
    kind = type(config.options) if "method" in asked else type(began.options) if "method" in known else None
    if kind is not None:
        own, common = kind.model_fields, RunConfig.model_fields
        known = {name: value for name, value in known.items() if name in own or name in common}
    try:
        return make_config({**known, **asked, "out": config.out or began.out}, kind)
    except ConfigurationError:
        return None


def given_options(config: RunConfig) -> dict[str, Any]:
    """Return option name -> value, as a user writes it, of the options that were given."""
    only = {name: getattr(config.options, name) for name in python_only(config.options) & config.given}
    return _written(config, [*config.given, *config.percentages], config.percentages) | only


def first_given(began: RunConfig, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return option name -> value, as a user writes it, of the options that were given when a run began.

    Args:
        began: the options of the directory.
        facts: facts about the run; those of an older onepath do not tell which options were given.
    """
    return _written(began, facts.get("given", ()), facts.get("percentages", {}))


def _written(
    config: RunConfig, names: Sequence[str], shares: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    values = {name: value for name, value in config.as_dict().items() if name in names}
    return values | {
        name: ",".join(f"{share:g}%" for share in shares[name]) for name in names if name in shares
    }


def empty_note(path: Path, asked: Mapping[str, Any], stays: Mapping[str, Any], changed: Sequence[str]) -> str:
    """Return what is said of the options of a run in which nothing has been computed; "" if nothing need be said.

    Args:
        path: path of the run directory.
        asked: option name -> value, for the options that are given now.
        stays: the same for all options that were given, now or when the run began.
        changed: the differences, with which the run starts over; see `changes`.
    """
    kept = ", ".join(
        f"{name} {written(value)}" for name, value in stays.items() if name not in asked and name != "out"
    )
    if changed:
        others = f"; of the options given then stay: {kept}" if kept else ""
        start = f"nothing has been trained or searched in {path} yet, so the run starts over with "
        return start + "; ".join(changed) + others
    # A command that only names the directory, and what must be named again, leaves out the rest on purpose.
    names_only = all(
        name == "out" or is_own(value) or str(value).startswith(GIVEN_IN_PYTHON)
        for name, value in asked.items()
    )
    if names_only or not kept:
        return ""
    return f"of the options that the run in {path} began with stay: {kept}; --fresh starts over without them"
