"""Make a trained network smaller: `python examples/shrink_own_model.py`.

The same on the command line: `onepath run --model examples/shrink_own_model.py:build --weights w.safetensors
--max-macs 40%,60%`.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import onepath as op


def build(num_classes: int = 10) -> nn.Module:
    def block(width: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]

    layers = [*block(1, 32), *block(32, 64), *block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, num_classes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    data, model = op.load_data("digits"), build()
    op.train_model(model, data, recipe=op.Recipe(given.epochs, 32, 0.1))  # yours is trained already
    supernet = op.convert(model.eval(), torch.zeros(1, *data.input_shape), data=data)
    print(supernet.conversion)
    limit = op.MaxMacs(op.cost.module_cost(model, data.input_shape).macs // 2)
    found = op.sandwich(supernet, data, constraints=[limit], epochs=given.epochs)
    smaller = found.model()  # plain torch layers; no further training is needed
    for name, network in (("model", model), ("half", smaller)):
        macs, accuracy = (
            op.cost.module_cost(network, data.input_shape).macs,
            op.train.evaluate(network, data, "test"),
        )
        print(f"{name}: {macs:,} MACs, {accuracy.metric:.4f} test")
    op.export_onnx(smaller, data.input_shape, "smaller.onnx", preprocessing=data.preprocessing)
