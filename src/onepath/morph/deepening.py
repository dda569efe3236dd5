"""Net2Deeper: one more layer in a trained network, which computes the same.

Source: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016 (arXiv 1511.05641), section 2.3.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import skip_init

from onepath.conversion.running import run
from onepath.errors import ConfigurationError, shown
from onepath.morph.agreement import check_agreement, in_mode, trials_of
from onepath.morph.draft import CONVOLUTIONS, TRANSPOSED, Draft, copy_of, hooked
from onepath.morph.following import what_follows

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def deepen(model: nn.Module, layer: str, example_inputs: Any) -> nn.Module:
    """Return a copy of a network with one more layer behind a layer, which computes the same.

    The new layer maps each channel to itself: a linear layer of the unit matrix, or a convolution of the same kernel
    size, stride 1, with a 1 at the centre; behind a depthwise convolution it is depthwise. It comes behind the layer's
    normalisation, with a normalisation of its own if that is a batch normalisation, and between two copies of the
    layer's activation f: `layer, norm, f` becomes `layer, norm, f, added, norm, f`. This computes the same if
    f(f(x)) = f(x). If no activation follows, the new layer has none either.

    The new batch normalisation maps its input to itself in evaluation mode, and in training mode on `example_inputs`:
    its scale and shift are the standard deviation and the mean of its input there, which are its running statistics,
    too. On another batch, training mode normalises by the statistics of that batch, so that the result differs as far
    as these do. Therefore give a large batch of real examples.

    Args:
        model: a plain network without choices, such as one that a supernet's `extract` returns; it is not changed.
        layer: path in the network of a linear layer, or of a convolution with odd kernel sides.
        example_inputs: what the network is called with: a tuple holds its arguments, anything else is the only one.

    Returns:
        A new network. The module after which the layer comes (the layer's normalisation; the layer itself if it has
        none) is now an `nn.Sequential` under the same path, with that module as `kept`, then `activation`, `added` and
        `norm` as far as there are such. All other modules keep their paths.

    Raises:
        ConfigurationError: there is no such layer, or it does not run exactly once; it is a transposed convolution, has
            an even kernel, or groups but is not depthwise; f(f(x)) = f(x) does not hold for its activation, as for
            sigmoid, tanh, SiLU and PReLU; the example inputs are no batch that training mode takes, where this is
            needed; or the result would not compute the same.

    Source: Chen et al., "Net2Net", ICLR 2016 (arXiv 1511.05641), Net2DeeperNet; statistics of the new batch
    normalisation: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873).
    Differs from them: the activation is found in a trace of the network; a layer without an activation can be deepened;
    the statistics are measured in training mode, because only that mode uses those of the batch.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        >>> deeper = op.morph.deepen(model, "0", torch.randn(16, 3, 8, 8))
        >>> [name for name, _ in deeper[1].named_children()]
        ['kept', 'activation', 'added', 'norm']
        >>> deeper[1].added
        Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    draft = Draft(model, layer, example_inputs)
    _check_kernel(draft)
    trials = trials_of(draft.model, draft.inputs)
    following = what_follows(draft)
    kept = draft.model.get_submodule(following.point)
    added = _identity_layer(draft.layer)
    norm = _new_norm(draft, kept) if isinstance(kept, _BatchNorm) else None
    parts = {"kept": kept, "activation": following.activation, "added": added, "norm": norm}
    block = nn.Sequential(OrderedDict((name, part) for name, part in parts.items() if part is not None))
    draft.accept(block, like=kept)
    _replace(draft, kept, block)
    path = ".".join(filter(None, (following.point, "added")))
    if norm is not None:
        set_identity(norm, _input_of_norm(draft, path))
        # Other batches have other statistics, as the docstring says.
        trials = [trial for trial in trials if not (trial.is_training and trial.is_varied)]
    _check_runs(draft, path)
    check_agreement(trials, draft.model, f"deepening {shown(draft.path)}")
    return draft.finished()


def _check_kernel(draft: Draft) -> None:
    layer = draft.layer
    if isinstance(layer, TRANSPOSED):
        raise ConfigurationError(
            f"a layer must be linear or a convolution to be deepened, but {shown(draft.path)} is a "
            f"{type(layer).__name__}; choose another layer"
        )
    if isinstance(layer, CONVOLUTIONS) and any(side % 2 == 0 for side in layer.kernel_size):
        raise ConfigurationError(
            f"a kernel must have odd sides to have a centre, but {shown(draft.path)} has {tuple(layer.kernel_size)}; "
            "choose another layer"
        )


def _identity_layer(layer: nn.Module) -> nn.Module:
    """Return a layer like this one that maps each of its outputs to itself."""
    weight = layer._parameters["weight"]
    assert weight is not None
    common: dict[str, Any] = {
        "bias": layer._parameters.get("bias") is not None,
        "device": weight.device,
        "dtype": weight.dtype,
    }
    num = weight.shape[0]
    if isinstance(layer, nn.Linear):
        added: Any = skip_init(nn.Linear, num, num, **common)  # type: ignore[no-untyped-call]
        nn.init.eye_(added.weight)
    else:
        assert isinstance(layer, CONVOLUTIONS)
        kind = next(kind for kind in CONVOLUTIONS if isinstance(layer, kind))
        groups, sides = (num if layer.groups > 1 else 1), tuple(layer.kernel_size)
        sizes = {"padding": tuple(side // 2 for side in sides), "groups": groups}
        added = skip_init(kind, num, num, sides, **sizes, **common)  # type: ignore[no-untyped-call]
        nn.init.dirac_(added.weight, groups)
    if added.bias is not None:
        nn.init.zeros_(added.bias)
    return added  # type: ignore[no-any-return]


def _new_norm(draft: Draft, norm: _BatchNorm) -> _BatchNorm:
    """Return a batch normalisation with scale and shift, for the outputs of the new layer."""
    weight = draft.layer._parameters["weight"]
    assert weight is not None
    kind = _NORMS[max(weight.dim() - 3, 0)]
    # Without statistics and scales of its own, as `norm` may be, it could not be the identity.
    return kind(norm.num_features, norm.eps, norm.momentum).to(weight)


def _replace(draft: Draft, kept: nn.Module, block: nn.Module) -> None:
    """Put a block in the place of a module wherever the network holds it, in place."""
    if kept is draft.model:
        draft.model = block
        return
    for parent in list(draft.model.modules()):
        for name, child in parent._modules.items():
            if child is kept and parent is not block:
                parent._modules[name] = block


def _input_of_norm(draft: Draft, path: str) -> Tensor:
    """Run a copy of the network in training mode on the example inputs, and return the outputs of the new layer."""
    found: list[Tensor] = []
    scratch = in_mode(copy_of(draft.model), is_training=True)
    with hooked(scratch.get_submodule(path), lambda _, __, output: found.append(output.detach().clone())):
        try:
            run(scratch, draft.inputs)
        except Exception as error:
            raise ConfigurationError(
                "example_inputs must be a batch that training mode takes where a batch normalisation is added, but "
                f"{type(draft.model).__name__} raised {type(error).__name__}: {shown(str(error), 160)}; give several "
                "examples"
            ) from error
    if not found:
        raise _unused(draft)
    return found[0]


@torch.no_grad()
def set_identity(norm: _BatchNorm, x: Tensor) -> None:
    """Set a batch normalisation to map x (B, C, ...) to itself, in both modes; in place."""
    dims = [dim for dim in range(x.dim()) if dim != 1]
    mean, variance = x.double().mean(dims), x.double().var(dims, correction=0)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _check_runs(draft: Draft, path: str) -> None:
    """Raise unless a pass runs the new layer; a network may hold its modules in a list besides."""
    ran: list[bool] = []
    with hooked(draft.model.get_submodule(path), lambda *_: ran.append(True)):
        try:
            run(draft.model.eval(), draft.inputs)
        except Exception:  # noqa: BLE001 - the check that follows tells what the network raises
            return
    if not ran:
        raise _unused(draft)


def _unused(draft: Draft) -> ConfigurationError:
    return ConfigurationError(
        f"a network must call its modules by their paths to be deepened, but it calls what follows {shown(draft.path)} "
        "in another way; hold it in an attribute, nn.Sequential or nn.ModuleList alone"
    )
