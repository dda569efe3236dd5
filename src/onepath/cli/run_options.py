"""The options of `onepath run`, made from the fields of a run's configuration and of its methods.

A field states its name, type, default, help and group once (`onepath.option_types.option`); nothing is repeated here.
All values reach the configuration as texts, and the configuration checks them, so that a mistake gives the same line on
the command line, in a file and in Python.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand
from typer.main import get_command

from onepath.cli import options as o
from onepath.option_types import GROUPS
from onepath.own_code import is_own

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_COMMON_OF_METHODS = ("epochs", "population", "generations")
_META = "onepath.run_options"
_OF_COMMAND = ("directory", "config", "fresh", "json", "help")
_OF_METHODS = " of the method"
_SINGULAR = {"space_arguments": "space_argument"}
_NUMBERS: dict[Any, str] = {int: "INTEGER", float: "FLOAT", str: "TEXT"}


class RunCommand(TyperCommand):
    """A command with the options of a run; its help shows the options of the method that is given beside `--help`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Make the options, hide those of other methods from the help, and parse the arguments."""
        from onepath.methods import METHODS, find_method

        names = [after for before, after in itertools.pairwise(args) if before == "--method"]
        names += [word.partition("=")[2] for word in args if word.startswith("--method=")]
        kind = find_method(names[0]) if names and (names[0] in METHODS or is_own(names[0])) else None
        own = [parameter for parameter in self.params if parameter.name in _OF_COMMAND]
        self.params = [*_made_options(kind), *own]
        shown = _COMMON_OF_METHODS if kind is None else tuple(kind.model_fields)
        for parameter in self.params:
            if (getattr(parameter, "rich_help_panel", None) or "").endswith(_OF_METHODS):
                parameter.hidden = parameter.name not in shown  # type: ignore[attr-defined]
        self.epilog = (
            "Options of a method: onepath run --method NAME --help, with NAME one of " + ", ".join(METHODS)
            if kind is None
            else None
        )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its function does not declare the options of the run, and finds them in `ctx.meta`."""
        ctx.meta[_META] = {name: ctx.params.pop(name) for name in list(ctx.params) if name not in _OF_COMMAND}
        return super().invoke(ctx)


def _made_options(kind: Any) -> list[Any]:
    """Return the options of a run as Typer makes them from a function's signature.

    Args:
        kind: class of the method whose options are added if it is not one of `METHODS`; or None.
    """
    from onepath.runs.config import RunConfig
    from onepath.runs.making import option_fields

    parameters, former = [], typer.Option("--retrain-from", hidden=True)
    annotations: dict[str, Any] = {"retrain_from": Annotated[str | None, former]}
    fields = {**option_fields(), **({} if kind is None else kind.model_fields)}
    for name, field in sorted(fields.items(), key=_place):
        extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if not extra.get("python_only"):
            is_own = name not in RunConfig.model_fields
            annotations[_SINGULAR.get(name, name)] = _made(_SINGULAR.get(name, name), field, extra, is_own)
    for name, annotation in annotations.items():
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=None, annotation=annotation))

    def options(**_: Any) -> None:
        """Only the signature is used."""

    options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    options.__annotations__ = annotations
    made = typer.Typer(add_completion=False)
    made.command()(options)
    return list(get_command(made).params)


def _place(item: tuple[str, Any]) -> int:
    """Return the place of an option in the help, which depends on its group."""
    extra = item[1].json_schema_extra
    return (
        GROUPS.index(extra["group"])
        if isinstance(extra, dict) and extra.get("group") in GROUPS
        else len(GROUPS)
    )


def _made(name: str, field: FieldInfo, extra: dict[str, Any], is_own: bool) -> Any:
    flag, is_switch = f"--{name.replace('_', '-')}", _kinds(field.annotation) == [bool]
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_switch else flag,
        metavar=None if is_switch else extra.get("metavar") or _metavar(field.annotation),
        help=_help(field),
        rich_help_panel=f"{extra.get('group')}{_OF_METHODS if is_own else ''}",
        show_default=False,
    )
    if is_switch:
        return Annotated[bool | None, option]
    return (
        Annotated[list[str] | None, option] if name in _SINGULAR.values() else Annotated[str | None, option]
    )


def _help(field: FieldInfo) -> str:
    text = (field.description or "").removesuffix(".")
    default = field.get_default()
    if default is None or default is False or default == {} or "default" in text:
        return f"{text}."
    return f"{text}; default: {default}."


def _metavar(annotation: Any) -> str:
    words = [
        value
        for kind in _leaves(annotation)
        if typing.get_origin(kind) is Literal
        for value in typing.get_args(kind)
    ]
    if words:
        return "[" + "|".join(map(str, words)) + "]"
    return next((_NUMBERS[kind] for kind in _kinds(annotation) if kind in _NUMBERS), "TEXT")


def _kinds(annotation: Any) -> list[Any]:
    return [kind for kind in _leaves(annotation) if isinstance(kind, type) and kind is not type(None)]


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types in an annotation, with `Annotated` and unions taken apart."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _leaves(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def takes_run_options(
    command: Callable[[dict[str, Any]], None], *, takes_directory: bool = False
) -> Callable[..., None]:
    """Return a command with the options of a run; `command` gets them as one dictionary, option name -> value.

    Args:
        command: what is called.
        takes_directory: whether the run directory may also be given as an argument; it becomes the option `out`.
    """

    @functools.wraps(command, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def called(
        ctx: typer.Context,
        directory: o.Directory = None,
        config: o.Config = None,
        fresh: o.Fresh = False,
        json: o.Json = False,
    ) -> None:
        given: dict[str, Any] = {
            name: value or None if isinstance(value, tuple | list) else value
            for name, value in ctx.meta[_META].items()
        }
        if directory is not None:
            given["out"] = o.run_directory(command.__name__, directory, given["out"])
        command({**given, "config": config, "fresh": fresh, "json": json})

    # What Typer reads to make the options.
    signature = inspect.signature(called, eval_str=True, follow_wrapped=False)
    parameters = [
        each for name, each in signature.parameters.items() if name != "directory" or takes_directory
    ]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = typing.get_type_hints(called, include_extras=True)
    del called.__wrapped__
    return called
