"""How well macs and parameters rank the measured latencies of random architectures of a space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from torch import nn

from onepath import cost
from onepath.errors import ConfigurationError
from onepath.latency.device import Device
from onepath.latency.device_errors import check_count
from onepath.latency.keys import shape_text
from onepath.latency.measure import prepared
from onepath.latency.rounds import Levels, Rounds, run_rounds
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.rank_correlation import rank_correlation
from onepath.webpage import figure_page

FEWEST_COMPARED = 3
_MOST_COMPARED = 10_000
_AXES = {"macs": "multiply-accumulates", "params": "parameters"}


def measure_levels(
    device: Device,
    models: Sequence[nn.Module],
    input_shape: Sequence[int],
    *,
    precision: float = 0.005,
    max_seconds: float = 120.0,
    progress: Callable[[int, int], None] | None = None,
) -> Levels:
    """Measure the latency of networks that are to be ranked, without the drift of the machine's speed.

    Args:
        device: device to measure on.
        models: the networks, which are all held ready at once; not changed.
        input_shape: shape of one example, without the batch.
        precision: the timing ends when the median standard error is at most this share of the latencies.
        max_seconds: the timing also ends after this many seconds; at least 20 rounds are made, see `run_rounds`.
        progress: called with the number of networks that are ready and the number of all networks; the timing itself is
            not reported.

    Returns:
        The levels of the networks, in their order.

    Raises:
        ConfigurationError: the device cannot be used on this machine.
        ShapeError: a network rejects the shape.
        UserError: the runtime cannot take a network.
    """
    device.check_usable()

    def told() -> Iterator[tuple[nn.Module, Sequence[int]]]:
        for number, model in enumerate(models):
            if progress is not None:
                progress(number, len(models))
            yield model, input_shape

    with prepared(device, told()) as networks:
        return run_rounds(
            device, networks, Rounds(len(networks)), precision=precision, max_seconds=max_seconds
        )


def compare(
    supernet: Supernet,
    device: Device,
    input_shape: Sequence[int],
    num: int,
    *,
    seed: int = 0,
    max_seconds: float = 120.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Count and measure random architectures, and return how well the counts rank the latencies.

    Args:
        supernet: the supernet; its weights do not matter.
        device: device to measure on.
        input_shape: shape of one example, without the batch.
        num: number of architectures, 3 or more.
        seed: seed of the random architectures.
        max_seconds: the timing ends after this many seconds, see `measure_levels`.
        progress: see `measure_levels`.

    Returns:
        "networks": for each "architecture", "macs", "params", "latency_ms", "iqr_ms", "is_noisy"; "correlation": "macs"
        and "params" -> "spearman" and "kendall_tau" with the latency, over the networks that were not too noisy, None
        where undefined; "device": settings of the device; "input_shape": a list.

    Raises:
        ConfigurationError: `num` is under 3, or the device cannot be used on this machine.
    """
    if num < FEWEST_COMPARED:
        raise ConfigurationError(
            f"a comparison needs {FEWEST_COMPARED} architectures or more, but got {num}; compare more"
        )
    check_count("the number of architectures of a comparison", num, FEWEST_COMPARED, _MOST_COMPARED)
    shape = tuple(int(size) for size in input_shape)
    space = supernet.space
    found = space.architectures(space.sample(num, generator(seed, "compared networks")))
    counts = {
        kind: cost.counter(supernet, shape, kind)[0](space.matrix(found)).tolist()
        for kind in ("macs", "params")
    }
    models = [supernet.extract(architecture, inherit=False) for architecture in found]
    levels = measure_levels(device, models, shape, max_seconds=max_seconds, progress=progress)
    rows: list[dict[str, Any]] = [
        {
            "architecture": str(architecture),
            **{kind: int(counts[kind][index]) for kind in _AXES},
            "latency_ms": float(levels.ms[index]),
            "iqr_ms": float(levels.iqr_ms[index]),
            "is_noisy": bool(levels.is_noisy[index]),
        }
        for index, architecture in enumerate(found)
    ]
    kept = [row for row in rows if not row["is_noisy"]]
    return {
        "networks": rows,
        "correlation": {
            kind: correlation([row[kind] for row in kept], [row["latency_ms"] for row in kept])
            for kind in _AXES
        },
        "device": device.settings(),
        "input_shape": list(shape),
    }


def correlation(first: Sequence[float], second: Sequence[float]) -> dict[str, float | None]:
    """Return the rank correlations of pairs of values, as "kendall_tau" and "spearman", see `rank_correlation`.

    Both are None if there are fewer than three pairs, or if one side is constant.
    """
    return rank_correlation(first, second, fewest=FEWEST_COMPARED)._asdict()


def comparison_page(title: str, compared: dict[str, Any]) -> str:
    """Return diagrams of latency against macs and against parameters, as one HTML file that loads nothing.

    Args:
        title: what was compared, such as the name of the space.
        compared: the result of `compare`.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = [row for row in compared["networks"] if not row["is_noisy"]]
    titles = []
    for kind, what in _AXES.items():
        rho = compared["correlation"][kind]["spearman"]
        titles.append(f"{what}: Spearman {'undefined' if rho is None else f'{rho:.3f}'}")
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.06)
    for column, kind in enumerate(_AXES, 1):
        figure.add_trace(
            Scatter(
                x=[row[kind] for row in rows],
                y=[row["latency_ms"] for row in rows],
                error_y={"array": [row["iqr_ms"] / 2 for row in rows], "thickness": 1, "color": "#9aa3af"},
                text=[escape(row["architecture"]) for row in rows],
                mode="markers",
                marker={"size": 8, "color": "#2563eb"},
                hovertemplate="%{x:,}<br>%{y:.4g} ms<br>%{text}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.update_xaxes(title_text=_AXES[kind], row=1, col=column)
    figure.update_yaxes(title_text="measured latency, ms", row=1, col=1)
    device, shape = compared["device"], shape_text(compared["input_shape"])
    threads = f"{device['threads']} thread{'s' if device['threads'] > 1 else ''}"
    figure.update_layout(
        title=escape(f"{title} at {shape} on {device['name']}, {threads}, batch {device['batch']}"),
        template="plotly_white",
        showlegend=False,
        height=560,
        margin={"t": 100},
    )
    return figure_page(figure, "comparison", title=title)
