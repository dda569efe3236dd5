"""Python functions of methods, such as `onepath.spos`, made from the methods' classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onepath.methods.job import Settings
from onepath.methods.memory_job import MemoryJob
from onepath.methods.method import Method, make_method


def function_of(kind: type[Method], returns: str) -> Callable[..., Any]:
    """Return the Python function of a method; its signature and docstring are made from the fields.

    Args:
        kind: class of the method.
        returns: one sentence for the docstring that says what the function returns.
    """

    def function(supernet: Any, data: Any, *, constraints: Sequence[Any] = (), **given: Any) -> Any:
        given = {kind.other_names.get(name, name): value for name, value in given.items()}
        own = {name: value for name, value in given.items() if name not in MemoryJob.SETTINGS}
        job = {name: value for name, value in given.items() if name in MemoryJob.SETTINGS}
        return make_method(kind, own).run(MemoryJob(supernet, data, constraints=constraints, **job))

    fields = {**kind.model_fields, **Settings.model_fields}
    shown = {new: old for old, new in kind.other_names.items()}
    options = dict.fromkeys(shown.get(name, name) for name in fields)
    names = ["supernet", "data", "constraints", *options, *MemoryJob.HOOKS]
    kinds = inspect.Parameter
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            kinds(
                name,
                kinds.POSITIONAL_OR_KEYWORD if name in ("supernet", "data") else kinds.KEYWORD_ONLY,
                default=kinds.empty if name in ("supernet", "data") else _default(name, fields, kind),
            )
            for name in names
        ]
    )
    function.__name__ = function.__qualname__ = kind.name.replace("-", "_")
    function.__module__ = kind.__module__
    arguments = "\n".join(
        f"    {shown.get(name, name)}: {field.description}"
        for name, field in fields.items()
        if field.description
    )
    function.__doc__ = (
        f"{(kind.__doc__ or '').strip()}\n\nArgs:\n"
        "    supernet: The supernet to search; trained in place if the method trains one.\n"
        "    data: The training split trains, the validation split scores; the test split is not read.\n"
        "    constraints: Hard limits on the architectures, such as `MaxMacs`.\n"
        f"{arguments}\n"
        "    device: Torch device on which networks are trained and scored.\n"
        "    checkpoint, on_point, on_update: See `train_supernet`.\n"
        "    on_trial: Called with each evaluated `Trial`.\n\n"
        f"Returns:\n    {returns}\n"
    )
    return function


def _default(name: str, fields: Mapping[str, Any], kind: type[Method]) -> Any:
    if name == "constraints":
        return ()
    if name == "device":
        return "cpu"
    field = fields.get(kind.other_names.get(name, name))
    return None if field is None else field.get_default(call_default_factory=True)
