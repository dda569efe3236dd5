"""How metrics and costs are shown to people: a stored score becomes a figure with a name and a unit.

The trial store holds scores, where higher is always better. For the metric that a task declares, lower may be better,
and it need not be a share. `Metric` converts scores to values of the metric for the console, `result.json` and the
report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

SPACE = "\u00a0"
_SHARES = ("accuracy",)
_LOWER = ("perplexity",)
_PREFIXES = ((10**9, " G"), (10**6, " M"), (10**3, " k"))


@dataclass(frozen=True)
class Metric:
    """The metric that a task measures.

    Attributes:
        name: name of the metric, for example "accuracy" or "rmse".
        higher_is_better: whether a higher value of the metric is better.
        is_share: whether the metric is a fraction of 1, which is shown in percent.

    Example:
        ``Metric("rmse", higher_is_better=False).text(-3.214)`` is "3.214".
    """

    name: str = "accuracy"
    higher_is_better: bool = True
    is_share: bool = False

    @classmethod
    def of(cls, found: str | Mapping[str, Any] | None) -> Metric:
        """Return the metric that the stored facts of the data describe.

        Args:
            found: a dictionary as returned by `document`; or a name alone, as older records have it, whose direction
                follows from the name; None stands for accuracy.
        """
        if isinstance(found, Mapping):
            is_share = bool(found.get("is_share", False)) and found["name"] not in _LOWER
            return cls(found["name"], bool(found["higher_is_better"]), is_share)
        name = found or "accuracy"
        return cls(name, name not in _LOWER, name in _SHARES)

    def document(self) -> dict[str, Any]:
        """Return the metric as the dictionary that the facts of the data and `result.json` hold."""
        return {"name": self.name, "higher_is_better": self.higher_is_better, "is_share": self.is_share}

    def value(self, score: float) -> float:
        """Return the value of the metric for a score.

        The value is the score if higher is better, and else the negative score. Perplexity is the inverse of a positive
        score.
        """
        if self.higher_is_better:
            return score
        return 1 / score if self.name in _LOWER and score > 0 else -score

    def goodness(self, score: float) -> float:
        """Return a score in the units of the metric, with higher is better, so that differences have these units."""
        value = self.value(score)
        return value if self.higher_is_better else -value

    def drawn(self, value: float) -> float:
        """Return a value of the metric for a diagram: shares in percent, rounded to four decimals."""
        return round(100 * value if self.is_share else value, 4)

    def shown(self, score: float) -> float:
        """Return the value of the metric for a score, as `drawn` gives it for a diagram."""
        return self.drawn(self.value(score))

    def text(self, score: float | None, digits: int = 1) -> str:
        """Return a score as text: "97.7 %" for a share, else four significant digits; a dash for None."""
        if score is None:
            return "–"
        value = self.value(score)
        return f"{100 * value:.{digits}f}{SPACE}%" if self.is_share else f"{value:.4g}"

    def range_text(self, scores: list[float]) -> str:
        """Return the smallest and the largest value as text: "96.1–97.2 %"; one figure if both read the same.

        Args:
            scores: at least one score.
        """
        values = sorted(scores, key=self.value)
        low, high = self.text(values[0]), self.text(values[-1])
        return low if low == high else f"{low.removesuffix(f'{SPACE}%')}–{high}"

    def difference(self, amount: float, digits: int = 1) -> str:
        """Return the size of a difference as text: "1.2 points" for a share, else three significant digits."""
        if not self.is_share:
            return f"{abs(amount):.3g}"
        text = f"{abs(100 * amount):.{digits}f}"
        return f"{text} point" + ("" if float(text) == 1 else "s")

    def signed(self, amount: float | None) -> str:
        """Return a difference with its sign as text, "+1.2", for a share in percentage points; a dash for None."""
        text = "–" if amount is None else f"{100 * amount:+.1f}" if self.is_share else f"{amount:+.3g}"
        return text.replace("-", "\u2212")

    def hover(self, axis: str = "y") -> str:
        """Return the template by which plotly.js formats a value under the pointer.

        Args:
            axis: axis that the value belongs to, "x" or "y".
        """
        return f"%{{{axis}:.2f}} %" if self.is_share else f"%{{{axis}:.4~g}}"

    @property
    def direction(self) -> str:
        """The direction of the metric in words: "higher is better" or "lower is better"."""
        return "higher is better" if self.higher_is_better else "lower is better"

    def axis(self, what: str) -> str:
        """Return the title of an axis, such as "inherited validation accuracy (%)" or "test rmse (lower is better)".

        Args:
            what: words in front of the metric's name, such as "test"; may be empty.
        """
        name = f"{what} {self.name}".strip()
        return (
            f"{name} (%)" if self.is_share else name if self.higher_is_better else f"{name} (lower is better)"
        )


class ShownCost(NamedTuple):
    """How a cost is shown.

    Attributes:
        name: name of the cost in records and limits, such as "macs".
        title: name of the cost in a sentence, such as "MACs".
        axis: title of a diagram's axis, such as "million MACs".
        factor: number by which the values of a diagram are divided.
        unit: unit that follows a figure in a table or a sentence; empty if there is none.
    """

    name: str
    title: str
    axis: str
    factor: float = 1.0
    unit: str = ""

    def text(self, value: float | None) -> str:
        """Return a value in three digits with its unit, such as "1.89 M", "24.6 kB" or "1.45 ms"; a dash for None."""
        if value is None:
            return "–"
        if self.unit == "ms":
            return f"{value:.3g}{SPACE}ms"
        text = short_count(value)
        return f"{text}{'' if text[-1].isalpha() else ' '}{self.unit}" if self.unit else text

    @property
    def head(self) -> str:
        """The heading of a column or a card: "MACs", "Model size"."""
        return self.title[:1].upper() + self.title[1:]

    def named(self, value: float | None) -> str:
        """Return a value with the name of the cost: "1.89 M MACs", "24.6 kB of memory"."""
        return f"{self.text(value)} {'of ' if self.unit else ''}{self.title}"


_COSTS = {
    "macs": ShownCost("macs", "MACs", "million MACs", 1e6),
    "params": ShownCost("params", "parameters", "thousand parameters", 1e3),
    "layers": ShownCost("layers", "layers", "layers"),
    "memory": ShownCost("memory", "memory", "peak activation memory (kB)", 1e3, "B"),
    "size": ShownCost("size", "model size", "model size (kB)", 1e3, "B"),
    "latency_ms": ShownCost("latency_ms", "latency", "latency (ms)", 1.0, "ms"),
}


def shown_cost(name: str) -> ShownCost:
    """Return how the cost of a name is shown; an unknown cost is shown with its name and without a unit."""
    title = name.replace("_", " ")
    return _COSTS.get(name, ShownCost(name, title, title))


def short_count(value: float) -> str:
    """Return a count in three digits: 1889280 -> "1.89 M"."""
    for factor, prefix in _PREFIXES:
        # 999,950 would otherwise become "1e+03 k".
        if abs(value) >= 0.9995 * factor:
            scaled = value / factor
            return f"{scaled:#.3g}".rstrip(".") + prefix if abs(scaled) < 999.5 else f"{scaled:,.0f}{prefix}"
    return f"{value:,.0f}" if value == math.floor(value) else f"{value:.3g}"
