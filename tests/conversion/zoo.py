"""The models that conversion is measured on, with random parameters everywhere."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

TIMM = (
    "resnet18",
    "test_resnet",
    "vgg11_bn",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "regnety_002",
    "resnext50_32x4d",
    "resnet50_gn",
    "test_efficientnet_ln",
    "densenet121",
    "ghostnet_100",
    "hrnet_w18_small",
    "convnext_atto",
    "convnextv2_atto",
    "test_vit",
    "swin_tiny_patch4_window7_224",
    "levit_128s",
    "mobilevit_xxs",
    "repvgg_a0",
)
TORCHVISION = ("shufflenet_v2_x0_5", "googlenet", "vit_b_16", "fasterrcnn_mobilenet_v3_large_320_fpn")
MODELS = (*TIMM, *TORCHVISION)


def built(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A model in evaluation mode, and the arguments of one forward pass."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in TIMM:
            import timm

            model = timm.create_model(name)
            inputs: tuple[Any, ...] = (torch.randn(1, *model.pretrained_cfg["input_size"]),)
        else:
            import torchvision

            is_detector = "rcnn" in name
            weights = {"weights": None, **({"weights_backbone": None} if is_detector else {})}
            model = torchvision.models.get_model(name, **weights)
            inputs = ([torch.rand(3, 320, 320)],) if is_detector else (torch.randn(1, 3, 224, 224),)
    randomise(model)
    return model.eval(), inputs


@torch.no_grad()
def randomise(model: nn.Module, seed: int = 0) -> None:
    """Draw all parameters and statistics anew: fresh ones, such as scales of 0, would hide errors."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, deviation: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * deviation)

    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            normal(parameter, float(parameter[0].numel()) ** -0.5)
        elif "bias" in name:
            normal(parameter, 0.1)
        else:
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    for name, buffer in model.named_buffers():
        if "running_mean" in name:
            normal(buffer, 0.1)
        elif "running_var" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)


def outputs_of(found: Any) -> list[Tensor]:
    """The tensors of values that a model returned."""
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def difference(first: Any, second: Any) -> float:
    """Largest difference of two results, in proportion to the largest value; infinity where shapes differ."""
    worst = 0.0
    for one, other in zip(outputs_of(first), outputs_of(second), strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.numel():
            worst = max(worst, float((one - other).abs().max() / one.abs().max().clamp_min(1e-12)))
    return worst
