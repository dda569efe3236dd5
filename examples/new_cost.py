"""A cost of your own, as a limit of a search: bytes that the convolutions read and write.

Run it with `python examples/new_cost.py`; it takes some seconds.
"""

from __future__ import annotations

import argparse

import torch
from mini_nas import Net, bars
from torch import Tensor, nn

import onepath as op


# --- the cost: a function of a plain network and the shape of one example, and its names -------------------------
def bytes_moved(model: nn.Module, input_shape: tuple[int, ...]) -> op.cost.Counted:
    """What each convolution reads (its input and weights) and writes, summed."""
    moved: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        tensors = (*inputs, output, *module.parameters())
        moved[module] = moved.get(module, 0) + sum(tensor.nbytes for tensor in tensors)

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    model(torch.zeros(1, *input_shape, device="meta"))
    return op.cost.Counted(sum(moved.values()), by_module=moved)


TRAFFIC = op.cost.Cost("traffic", "bytes", "bytes moved", "Most bytes moved", bytes_moved, is_additive=True)
# -----------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Search under the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--max-traffic", default="64KiB")
    options = parser.parse_args()

    data = op.load_data(bars(1200, seed=0), test=bars(300, seed=1), flip=False)
    torch.manual_seed(0)
    supernet = op.Supernet(Net(data.num_classes))
    op.train_supernet(
        supernet, data, sampler=op.UniformSampler(supernet.space), epochs=options.epochs, seed=0
    )
    found = op.search_supernet(
        supernet,
        data,
        op.Evolution(supernet.space, seed=0, population=12, generations=3),
        constraints=[op.cost.CostLimit(TRAFFIC, options.max_traffic)],
    )
    count, _ = op.cost.counter(supernet, data.input_shape, TRAFFIC)
    moved = count(supernet.space.matrix([found.best]))[0]
    print(f"best of {len(found.trials)}: {found.best.options}, {moved:,} bytes moved")


if __name__ == "__main__":
    main()
