"""Make the configuration of a run from given or stored options, check it, and compare two configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from onepath import option_types as types
from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.methods import METHODS, Method, SampledMethod, ScoredMethod, find_method, make_method
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.methods.random_networks import TrainedAlone
from onepath.most import FINALISTS
from onepath.option_types import one_line, unknown_option
from onepath.own_code import is_own, unnamed_code
from onepath.runs.config import LIMIT_NAMES, RunConfig, written
from onepath.search.halving import HALVING, NUM_FINALISTS

_PATHS = ("data", "test_data", "data_root", "latency_table", "weights")
_FORMER_NAMES = {"retrain_from": "finish"}
_DIGITS_SPACE = "nasbench-macro"
_DIGITS_LIMITS = (500_000, 1_000_000, 2_000_000)
"""Limits that show a gain on the bundled 8x8 images within two minutes: three winners, each limit twice the former."""


def option_fields(method: str | None = None) -> dict[str, Any]:
    """Return name -> field of every option of a run.

    Args:
        method: name of the method whose options are included; None includes the options of all methods.
    """
    kinds = METHODS.values() if method is None else (METHODS[method],)
    fields: dict[str, Any] = dict(RunConfig.model_fields)
    for kind in kinds:
        fields |= {name: field for name, field in kind.model_fields.items() if name not in fields}
    return fields


def make_config(options: Mapping[str, Any], kind: type[Method] | None = None) -> RunConfig:
    """Make a configuration from options and check it.

    Paths of files become absolute, so that a run can be continued from any directory.

    Args:
        options: option name -> value; an option that is left out or None takes its default.
        kind: class of the method; None finds it by its name, which runs the user's file if the method is in one.

    Raises:
        ConfigurationError: an option does not exist, is out of its range, or does not fit the others.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for old, new in _FORMER_NAMES.items():
        if old in given and given.setdefault(new, given[old]) != given.pop(old):
            raise ConfigurationError(f"{old} is the former name of {new}, but both came; leave {old} out")
    if given.get("model") is not None:
        given.setdefault("method", "sandwich")  # its winners keep the weights of the model
    elif given.get("budget") is not None:
        given.setdefault("method", "naswot")  # the best of a short time, see docs/which_method.md
    kind = find_method(given.get("method", "spos")) if kind is None else kind
    if isinstance(given.get("method"), type):
        given["method"] = method_name(kind)
    percentages = _percentages(given)
    own = {name: value for name, value in given.items() if name in kind.model_fields}
    common = {name: value for name, value in given.items() if name not in own}
    _check_known(common, kind)
    method = make_method(kind, own)
    try:
        config = RunConfig(**{**_defaults(options, kind), **common})
    except ValidationError as error:
        raise ConfigurationError(one_line(error, option_fields())) from error
    if not kind.trains_supernet and config.finish not in (None, "scratch", HALVING):
        raise ConfigurationError(
            f"finish: method {kind.name} has no supernet to inherit from, but got {config.finish}; leave it out"
        )
    if config.finish_teacher == "model" and (config.finish or kind.finish) == "as-is":
        raise ConfigurationError(
            "finish_teacher is for networks that are trained after the search, but finish is as-is, which trains none; "
            "give finish, such as fine-tuned, or leave finish_teacher out"
        )
    if config.finish == "both" and (config.finalists or 1) > 1:
        raise ConfigurationError(
            f"finish both compares two trainings of one network, but finalists are {config.finalists}; give one start, "
            "such as scratch, or leave finalists out"
        )
    if (method.num_finalists or 0) > FINALISTS:
        raise ConfigurationError(
            f"num must be at most {FINALISTS:,} with method {kind.name}, which trains every network, but got "
            f"{method.num_finalists:,}; lower it"
        )
    aims = {f"{name.rpartition('_')[2]}": max(values) for name, values in config.limits.items()}
    if (config.latency_table or "").endswith(".safetensors"):
        aims.pop("ms", None)  # a predictor of whole networks, whose costs do not add up
    method.check_aims(aims)
    names = ["data_root", "space", "latency_table", "method", "model", "weights"]
    # With a root, a bare word names a torchvision dataset even if a folder has that name, as in `load_data`.
    names += [
        name for name in ("data", "test_data") if config.data_root is None or _is_path(getattr(config, name))
    ]
    config = config.model_copy(
        update={
            "finish": config.finish or kind.finish,
            "finalists": config.finalists
            or method.num_finalists
            or (NUM_FINALISTS if config.finish == HALVING else 1),
            "finish_teacher": config.finish_teacher
            or ("labels" if config.finish == "as-is" else kind.finish_teacher),
            **{name: absolute(getattr(config, name)) for name in names},
        }
    )
    config._options, config._given = method, given_names(options) - set(percentages)
    config._percentages = percentages
    several = {name: values for name, values in {**config.limits, **percentages}.items() if len(values) > 1}
    if len({len(values) for values in several.values()}) > 1:
        given_as = "; ".join(f"{name} {written(values)}" for name, values in several.items())
        raise ConfigurationError(
            f"several limits must be as many of each kind, but got {given_as}; give one of a kind, or as many of each"
        )
    return config


def method_name(kind: type[Method]) -> str:
    """Return the name under which a run stores a method that is given as a class."""
    return kind.name if METHODS.get(kind.name) is kind else GIVEN_IN_PYTHON + kind.name


def given_names(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the options that were given, former names as the present ones.

    A limit that is None was left out on purpose and counts as given; in other options None stands for a default.
    """
    limits = {*LIMIT_NAMES, "max_latency_ms"}
    return frozenset(
        _FORMER_NAMES.get(name, name)
        for name, value in options.items()
        if value is not None or name in limits
    )


def _percentages(given: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """Take the limits in percent, such as "60%", out of the options, and return option name -> percentages."""
    found = {}
    for name in (*LIMIT_NAMES, "max_latency_ms"):
        if not isinstance(given.get(name), str) or "%" not in given[name]:
            continue
        text = given.pop(name)
        if given.get("model") is None:
            raise ConfigurationError(
                f"{name} in percent is of the model that came in, but none came; give model, or a number"
            )
        try:
            found[name] = types.parse_percentages(text)
        except ValueError as error:
            raise ConfigurationError(f"{name} {error}, but got {shown(text)}; change it") from error
    return found


def _defaults(options: Mapping[str, Any], kind: type[Method]) -> dict[str, Any]:
    """Return the default space of a run and, for the bundled digits without any limit, the default limits."""
    if options.get("model") is not None:
        return {"space": options["model"]}
    is_digits = options.get("data") in (None, "digits") and kind.space == Method.space
    if not is_digits or options.get("space") is not None:
        return {"space": kind.space}
    is_limited = bool(set(options) & {*LIMIT_NAMES, "max_latency_ms"})
    if is_limited or not issubclass(kind, SampledMethod | ScoredMethod | TrainedAlone):
        return {"space": _DIGITS_SPACE}
    # A budget is planned for one winner, and networks without a shared supernet are trained for one limit.
    is_single = options.get("budget") is not None or issubclass(kind, TrainedAlone)
    return {"space": _DIGITS_SPACE, "max_macs": _DIGITS_LIMITS[:1] if is_single else _DIGITS_LIMITS}


def _check_known(common: Mapping[str, Any], kind: type[Method]) -> None:
    for name in common:
        takers = [other.name for other in METHODS.values() if name in other.model_fields]
        if name in RunConfig.model_fields:
            continue
        if not takers:
            raise ConfigurationError(unknown_option(name, option_fields()))
        raise ConfigurationError(
            f"{name} is an option of method {' or '.join(takers)}, but method is {kind.name}; leave {name} out, "
            f"or give method {takers[0]}"
        )


def read_stored(stored: Mapping[str, Any], path: Path, kind: type[Method] | None = None) -> RunConfig:
    """Return the configuration of a run directory; options that an older onepath stored as null take their defaults.

    Args:
        stored: option name -> value, as the directory stores them.
        path: path of the run directory, for messages.
        kind: class of the method that the caller has named. A directory must not choose which code is run, so a method
            of the user's own is only taken from here.

    Raises:
        ConfigurationError: the method is the user's own, and the caller has not named it, or has given another class.
        RunDirectoryError: the stored options are no configuration of this onepath.
    """
    method = str(stored.get("method", ""))
    if is_own(method) and kind is None:
        raise unnamed_code(path, "method", method)
    if kind is not None and method.startswith(GIVEN_IN_PYTHON) and method != method_name(kind):
        raise ConfigurationError(
            f"method must be the one that the run began with, but got {kind.name} and {path} has {shown(method)}; give "
            "that one"
        )
    options = {name: value for name, value in stored.items() if value is not None}
    try:
        return make_config(options, kind if method not in METHODS else None)
    except ConfigurationError as error:
        if method.startswith(GIVEN_IN_PYTHON):
            raise
        raise RunDirectoryError(f"{path} must hold a configuration of this onepath, but {error}") from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the differences between two configurations, each as "option: old -> new"; `out` is not compared.

    Args:
        old: option name -> value.
        new: option name -> value.
    """
    old, new = _with_one_origin(old), _with_one_origin(new)
    names = [
        name for name in {**old, **new} if name != "out" and not _is_same(name, old.get(name), new.get(name))
    ]
    return [f"{name}: {written(old.get(name))} -> {written(new.get(name))}" for name in names]


def _with_one_origin(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without the space if there is a model, which is stored as the space, too."""
    return {**options, "space": None} if options.get("model") is not None else dict(options)


def _is_path(value: str | None) -> bool:
    return value is not None and ("/" in value or Path(value).suffix != "")


def _is_same(name: str, old: object, new: object) -> bool:
    if name in _PATHS and isinstance(old, str) and isinstance(new, str):
        return Path(old).expanduser().resolve() == Path(new).expanduser().resolve()
    return old == new


def absolute(value: str | None) -> str | None:
    """Return the path of an existing file, or of code in one, as an absolute path; other texts are not changed."""
    if value is None:
        return None
    path, separator, function = value.rpartition(":") if ".py:" in value else (value, "", "")
    if not path.strip():
        return value  # must not become the working directory; the reader of the option refuses it
    # "digits" names the bundled data even if a folder has that name; likewise the default spaces.
    if value in ("digits", *{kind.space for kind in METHODS.values()}) and not separator:
        return value
    file = Path(path).expanduser()
    try:
        is_there = file.exists()
    except OSError:  # a name longer than any file's, or in a folder that may not be searched
        return value
    return f"{file.absolute()}{separator}{function}" if is_there else value
