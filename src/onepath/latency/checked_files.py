"""Read tables and predictors of unknown origin: within limits of size, and with every field checked before use."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError

from onepath.errors import ConfigurationError, DataError, RunDirectoryError, UserError, shown
from onepath.latency.device import MOST_EXAMPLES
from onepath.latency.device_errors import LEAST_MS, MOST_MS, one_line
from onepath.record.atomic import reason

MOST_BYTES = 64 * 2**20
"""Largest size of a table or a predictor; the largest file that onepath wrote is under a tenth of it."""
_MOST_COST = 1e12  # largest entry, in any unit: sums of entries stay far below the largest float

Checked = TypeVar("Checked", bound="Node")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text")
    return text


Text = Annotated[str, Field(strict=True, min_length=1, max_length=4000), AfterValidator(_printable)]
AnyText = Annotated[str, Field(strict=True), AfterValidator(_printable)]
"""Printable text without a limit of length: empty, or an architecture of thousands of choices."""
Examples = Annotated[StrictInt, Field(ge=1, le=MOST_EXAMPLES)]
Count = Annotated[StrictInt, Field(ge=1, le=2**31)]
Number = Annotated[StrictFloat, Field(ge=-_MOST_COST, le=_MOST_COST, allow_inf_nan=False)]
Cost = Annotated[StrictFloat, Field(ge=0, le=_MOST_COST, allow_inf_nan=False)]
Slope = Annotated[StrictFloat, Field(gt=0, le=_MOST_COST, allow_inf_nan=False)]
TimeMs = Annotated[StrictFloat, Field(ge=LEAST_MS, le=MOST_MS, allow_inf_nan=False)]
Shape = Annotated[list[Count], Field(min_length=1)]


class Node(BaseModel):
    """A part of a file; fields that the class does not name are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SettingsNode(Node):
    """The fields of `Device.settings()`; in a file of published latencies, the name alone is enough."""

    name: Text
    batch: Examples = 1
    threads: Count | None = None
    precision: Text = "float32"
    version: AnyText | None = None
    processor: AnyText | None = None


def read_text(path: Path | str, what: str, most_bytes: int = MOST_BYTES) -> str:
    """Return the text of a file of at most `most_bytes`; pipes and devices are not opened.

    Args:
        path: path of the file.
        what: what the file must be, for messages: "a latency table".
        most_bytes: largest size of the file.

    Raises:
        RunDirectoryError: the file is absent or cannot be read.
        DataError: it is not a regular file, is too large, or is not text in UTF-8.
    """
    check_file(path, what, most_bytes)
    try:
        with Path(path).open("rb") as file:
            return file.read(most_bytes).decode("utf-8")
    except OSError as error:
        raise _unreadable(path, what, error) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be {what} in UTF-8, but byte {error.start} is not; write the file again"
        ) from error


def check_file(path: Path | str, what: str, most_bytes: int = MOST_BYTES) -> None:
    """Raise unless `path` is a regular file of at most `most_bytes`; arguments and errors are those of `read_text`."""
    try:
        status = Path(path).stat()
    except FileNotFoundError as error:
        raise RunDirectoryError(
            f"{path} must be {what}, but there is no such file; check the path, or make it with "
            "`onepath profile`"
        ) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, what, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} must be {what}, but it is no regular file; give the path of a file")
    if status.st_size > most_bytes:
        raise DataError(
            f"{path} must be {what} of at most {most_bytes:,} bytes, but it has {status.st_size:,}; give another file"
        )


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or names a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} stands there twice")
    return found


def check_nodes(kind: type[Checked], data: Any) -> Checked:
    """Return data as a node of class `kind`, with every field checked.

    Raises:
        ValueError: a field is wrong; one line names the first such field, its rule and its value.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[0]
        place = one_line(".".join(str(part) for part in found["loc"])) or "the whole"
        message = found["msg"].removeprefix("Value error, ").partition(" or instance of")[0]
        message = message[:1].lower() + message[1:]
        raise ValueError(f"{place}: {message}, but got {shown(found['input'])}") from None


def not_as_written(path: Path | str, what: str, error: Exception, remedy: str) -> DataError:
    """Return the one-line error for a file that is not what it must be.

    Args:
        path: path of the file.
        what: what the file must be: "a latency table".
        error: what went wrong when it was read.
        remedy: what the user can do, with which the message ends.
    """
    said = one_line(error if type(error) is ValueError or isinstance(error, UserError) else repr(error))
    return DataError(f"{path} must be {what} as onepath wrote it, but it is not ({said}); {remedy}")


def _unreadable(path: Path | str, what: str, error: OSError | ValueError) -> RunDirectoryError:
    why = reason(error) if isinstance(error, OSError) else one_line(error)
    return RunDirectoryError(
        f"{shown(str(path))} must be {what}, but it cannot be read: {why}; check the path"
    )


def check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ConfigurationError, which says what differs, unless a file has the present settings.

    Args:
        path: path of the file, for the message.
        old: settings in the file.
        new: present settings; only these are compared.
    """
    different = [
        f"{name} {_as_json(old.get(name))} there, {_as_json(value)} now"
        for name, value in new.items()
        if old.get(name) != value
    ]
    if different:
        raise ConfigurationError(
            f"{path} must be of the same settings to go on, but it has {'; '.join(different)}; give another --out, or "
            "start over with --fresh"
        )


def _as_json(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))
