"""`onepath convert`: what can be elastic in a model, and how small it can become, before anything is trained."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.cli.output import print_json, write


def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Model: path/to/file.py:function, timm:NAME or torchvision:NAME."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .safetensors file, or a torch file with only tensors."),
    ] = None,
    num_classes: o.NumClasses = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=most.PIXELS, help="Height and width of the input; default: the model's own, or 224."
        ),
    ] = None,
    in_channels: o.InChannels = 3,
    width: Annotated[
        list[float] | None,
        typer.Option(
            help="Share of a group's channels that may be kept; may be repeated; default: 0.5, 0.75, 1."
        ),
    ] = None,
    divisor: Annotated[int, typer.Option(help="Numbers of channels are multiples of this.")] = 8,
    pin: Annotated[
        list[str] | None,
        typer.Option(help="Module, or pattern such as 'stem*', whose sizes are kept; may be repeated."),
    ] = None,
    resolution: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=most.PIXELS,
            help="Side in pixels that images may be resized to; the largest is the input's; may be repeated.",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Show what can be elastic in a model, and the smallest and largest costs that can be reached."""
    from onepath import conversion, cost
    from onepath.conversion.models import input_size_of, load_model
    from onepath.display import shown_cost
    from onepath.nn.inputs import blank_inputs

    built = load_model(
        model, weights, num_classes=num_classes, in_channels=in_channels, input_size=input_size
    )
    size = input_size or input_size_of(built)
    shape = (in_channels, size, size)
    options: dict[str, Any] = {"widths": tuple(width)} if width else {}
    if resolution:
        options["resolutions"] = tuple(resolution)
    supernet = conversion.convert(
        built, blank_inputs(built, shape), divisor=divisor, pin=pin or (), **options
    )
    reached = conversion.reachable(supernet, shape)
    report = supernet.conversion
    if json:
        print_json(
            {
                "model": model,
                "input_shape": list(shape),
                "rows": [row._asdict() for row in report.rows],
                "elastic_macs_share": report.elastic_macs_share,
                "elastic_params_share": report.elastic_params_share,
                "architectures": supernet.space.size,
                "costs": {
                    name: {"smallest": low, "largest": high, "unit": cost.COSTS[name].unit}
                    for name, (low, high) in reached.items()
                },
            }
        )
        return
    for line in str(report).splitlines():
        write(line)
    write(
        f"{supernet.space.size:.3g} architectures of {len(supernet.space.choices)} choices, at {size} pixels:"
    )
    for name, (low, high) in reached.items():
        shown = shown_cost(name)
        write(f"{shown.title:<12} {shown.text(low)} to {shown.text(high)}: down to {100 * low / high:.0f} %")
