"""How a metric and a cost are shown to people: where a stored score becomes a figure with a name and a unit.

Rows hold scores, of which higher is always better. The metric that a task declares may count the other way, and need
not be a share: `Metric` turns one into the other for the console, `result.json` and the report.
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
    """What a task measures.

    Attributes:
        name: for example "accuracy" or "rmse".
        higher_is_better: its direction.
        is_share: whether it is a fraction of 1, which is shown in percent.

    Example:
        ``Metric("rmse", higher_is_better=False).text(-3.214)`` is "3.214".
    """

    name: str = "accuracy"
    higher_is_better: bool = True
    is_share: bool = False

    @classmethod
    def of(cls, found: str | Mapping[str, Any] | None) -> Metric:
        """The metric as the facts of the data note it; a bare name is one from before its direction was noted."""
        if isinstance(found, Mapping):
            is_share = bool(found.get("is_share", False)) and found["name"] not in _LOWER
            return cls(found["name"], bool(found["higher_is_better"]), is_share)
        name = found or "accuracy"
        return cls(name, name not in _LOWER, name in _SHARES)

    def document(self) -> dict[str, Any]:
        """As the facts of the data and `result.json` have it."""
        return {"name": self.name, "higher_is_better": self.higher_is_better, "is_share": self.is_share}

    def value(self, score: float) -> float:
        """The metric itself, from the score: the negative where lower is better; of perplexity also the inverse."""
        if self.higher_is_better:
            return score
        return 1 / score if self.name in _LOWER and score > 0 else -score

    def goodness(self, score: float) -> float:
        """In the units of the metric, and higher is better: what differences and spreads are taken of."""
        value = self.value(score)
        return value if self.higher_is_better else -value

    def drawn(self, value: float) -> float:
        """A value of the metric as a diagram has it: shares in percent."""
        return round(100 * value if self.is_share else value, 4)

    def shown(self, score: float) -> float:
        """A score as a diagram has it."""
        return self.drawn(self.value(score))

    def text(self, score: float | None, digits: int = 1) -> str:
        """A score in words: "97.7 %" of a share, else four digits; a dash where there is none."""
        if score is None:
            return "–"
        value = self.value(score)
        return f"{100 * value:.{digits}f}{SPACE}%" if self.is_share else f"{value:.4g}"

    def range_text(self, scores: list[float]) -> str:
        """The smallest and the largest: "96.1–97.2 %"; one figure where they read the same."""
        values = sorted(scores, key=self.value)
        low, high = self.text(values[0]), self.text(values[-1])
        return low if low == high else f"{low.removesuffix(f'{SPACE}%')}–{high}"

    def difference(self, amount: float, digits: int = 1) -> str:
        """A difference of two values without its sign: "1.2 points" of a share, else three digits."""
        if not self.is_share:
            return f"{abs(amount):.3g}"
        text = f"{abs(100 * amount):.{digits}f}"
        return f"{text} point" + ("" if float(text) == 1 else "s")

    def signed(self, amount: float | None) -> str:
        """A difference with its sign, in points of a share: "+1.2"; a dash where there is none."""
        text = "–" if amount is None else f"{100 * amount:+.1f}" if self.is_share else f"{amount:+.3g}"
        return text.replace("-", "\u2212")

    def hover(self, axis: str = "y") -> str:
        """A figure under the pointer, as plotly.js formats it."""
        return f"%{{{axis}:.2f}} %" if self.is_share else f"%{{{axis}:.4~g}}"

    @property
    def direction(self) -> str:
        """In words."""
        return "higher is better" if self.higher_is_better else "lower is better"

    def axis(self, what: str) -> str:
        """The title of an axis: "inherited validation accuracy (%)", "test rmse (lower is better)"."""
        name = f"{what} {self.name}".strip()
        return (
            f"{name} (%)" if self.is_share else name if self.higher_is_better else f"{name} (lower is better)"
        )


class ShownCost(NamedTuple):
    """How a cost is shown.

    Attributes:
        name: as rows and limits have it, "macs".
        title: in a sentence, "MACs".
        axis: of a diagram.
        factor: what a diagram's figures are divided by.
        unit: behind a figure in a table or a sentence.
    """

    name: str
    title: str
    axis: str
    factor: float = 1.0
    unit: str = ""

    def text(self, value: float | None) -> str:
        """In three digits, with its unit but without its name: "1.89 M", "24.6 kB", "1.45 ms"."""
        if value is None:
            return "–"
        if self.unit == "ms":
            return f"{value:.3g}{SPACE}ms"
        text = short_count(value)
        return f"{text}{'' if text[-1].isalpha() else ' '}{self.unit}" if self.unit else text

    @property
    def head(self) -> str:
        """Of a column or a card: "MACs", "Model size"."""
        return self.title[:1].upper() + self.title[1:]

    def named(self, value: float | None) -> str:
        """With its name: "1.89 M MACs", "24.6 kB of memory"."""
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
    """How the cost of a name is shown; one that is not known here by its name and its plain figure."""
    title = name.replace("_", " ")
    return _COSTS.get(name, ShownCost(name, title, title))


def short_count(value: float) -> str:
    """A count in three digits: 1889280 -> "1.89 M"."""
    for factor, prefix in _PREFIXES:
        # 999,950 would otherwise become "1e+03 k".
        if abs(value) >= 0.9995 * factor:
            scaled = value / factor
            return f"{scaled:#.3g}".rstrip(".") + prefix if abs(scaled) < 999.5 else f"{scaled:,.0f}{prefix}"
    return f"{value:,.0f}" if value == math.floor(value) else f"{value:.3g}"
