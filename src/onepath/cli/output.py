"""Write results to stdout and everything else to stderr; no text in it can steer a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from onepath.display import SPACE, shown_cost
from onepath.own_code import is_own

# Control characters, characters that change the direction of writing, line separators, halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def plain(text: str) -> str:
    """Return a text in which every character that could steer a terminal is escaped."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; characters that `plain` would escape are escaped in JSON's way."""
    stream = sys.stdout.results if isinstance(sys.stdout, _Beside) else sys.stdout
    text = json.dumps(content, indent=2, ensure_ascii=not _is_unicode(stream), allow_nan=False)
    lines = text.split("\n")  # line breaks of the layout only; inside a text they are escaped
    print(
        "\n".join(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in lines),
        file=stream,
        flush=True,
    )


@contextlib.contextmanager
def json_alone() -> Iterator[None]:
    """Keep stdout for `print_json`; anything else that is printed, for example by the user's own code, goes to stderr.

    If `sys.stdout` is the stdout of the process, this also holds for the processes that it starts.
    """
    stdout = sys.stdout
    results, kept = stdout, None
    is_of_process = stdout is sys.__stdout__
    if is_of_process and stdout.fileno() == 1:
        stdout.flush()
        kept = os.dup(1)
        results = open(kept, "w", encoding=stdout.encoding, errors=stdout.errors)  # noqa: SIM115  closed below
        os.dup2(2, 1)
    sys.stdout = _Beside(results)
    try:
        yield
    finally:
        sys.stdout = stdout
        if kept is not None:
            os.dup2(kept, 1)
            with contextlib.suppress(OSError):  # the reader has gone, which has been noticed
                results.close()


class _Beside(io.TextIOBase):
    """A stdout whose text goes to stderr; it holds the stream for the results."""

    def __init__(self, results: TextIO) -> None:
        self.results = results

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stderr, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        return sys.stderr.fileno()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def write(text: str) -> None:
    """Write a line of results to stdout."""
    _print(text, sys.stdout)


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line beside the results, to stderr or another stream; a stream that is closed or gone is no error."""
    with contextlib.suppress(OSError, ValueError):
        _print(text, sys.stderr if stream is None else stream)


def _print(text: str, stream: TextIO) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(plain(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def print_result(path: Path, result: Mapping[str, Any]) -> None:
    """Print the outcome of a run for people.

    Args:
        path: path of the run directory.
        result: content of `result.json` of a finished run.
    """
    from onepath.runs.shown_result import metric_in, number, result_lines

    for label, text in result_lines(result):
        write(f"{label:<10} {text}")
    write(
        f"time       {result['seconds']['total']:.0f} s, {result['search']['evaluated']:,} architectures evaluated"
    )
    for name in result["files"].values():
        if name is not None:
            write(f"file       {path / name}")
    if result.get("preprocessing") is not None:  # absent in runs of an older onepath
        _print_usage(path, result)
    # The winners under further limits are in folders of their own.
    for winner in result["winners"][1:]:
        test = number(metric_in(result), winner["accuracy"]["retrained_test"])
        write(f"winner     {test} test, {_limited(winner)}: {path / winner['path']}")


def print_limits(path: Path) -> None:
    """Print the winners of a run under several limits as a table; with one limit, print the outcome of the run."""
    from onepath.record import RunRecord
    from onepath.report.winners import limits_section

    record = RunRecord.load(path)
    section = limits_section(record)
    if section is None:
        print_result(path, record.result)
        return
    print_table(section["heads"], [[cell.replace(SPACE, " ") for cell in row] for row in section["rows"]])
    write(f"file  {path / record.result['files']['report']}")


def _limited(winner: Mapping[str, Any]) -> str:
    """Return the costs of a winner under further limits, and these limits, as text."""
    limits = winner.get("limits") or {"max_latency_ms": winner["max_latency_ms"]}
    texts = []
    for name, limit in limits.items():
        cost = shown_cost(name.removeprefix("max_"))
        if cost.unit == "ms":
            texts.append(f"{winner['cost']['latency_ms']:.3f} ms measured, limit {limit:g} ms")
            continue
        found = (winner.get("costs") or {}).get(cost.name, {}).get("value", winner["cost"].get(cost.name))
        texts.append(f"{cost.named(found)}, limit {cost.text(limit)}")
    return ", ".join(texts)


def _print_usage(path: Path, result: Mapping[str, Any]) -> None:
    """Print how the exported files are used."""
    preparing = result["preprocessing"]
    write(f"input      {preparing['summary']}")
    code = f", space={result['space']!r}" if is_own(result["space"]) else ""
    write(f"train      onepath.load_run({str(path)!r}{code}).model() is the module; model.pt2 cannot train()")
    if preparing["snippet"] is not None:
        write("run        these lines need no onepath:")
        onnx = result["files"]["onnx"]
        for line in preparing["snippet"].replace(repr(onnx), repr(str(path / onnx))).split("\n"):
            write(line)


def print_comparison(compared: Mapping[str, Any]) -> None:
    """Print random architectures sorted by latency, and how well MACs and parameters rank them.

    Args:
        compared: what `compare_space` returns.
    """
    rows = sorted(compared["networks"], key=lambda row: row["latency_ms"])
    print_table(
        ["architecture", "MACs", "params", "ms", "IQR"],
        [
            [
                row["architecture"],
                compact(row["macs"]),
                compact(row["params"]),
                f"{row['latency_ms']:.4g}",
                f"{row['iqr_ms']:.2g}" + (" noisy" if row["is_noisy"] else ""),
            ]
            for row in rows
        ],
    )
    for kind, title in (("macs", "MACs"), ("params", "parameters")):
        found = compared["correlation"][kind]
        write(
            f"{title} against latency: Spearman {_number(found['spearman'])}, "
            f"Kendall tau {_number(found['kendall_tau'])}"
        )
    write(f"file  {compared['files']['page']}")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns aligned with spaces: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        cells = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        write("  ".join(cells).rstrip())


def compact(number: float) -> str:
    """Return a number with three digits after the point and a suffix k, M or G, such as "322.919 M"."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= factor:
            return f"{number / factor:.3f}{suffix}"
    return f"{number:g}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
