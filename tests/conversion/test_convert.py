from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conversion import networks
from conversion.networks import IMAGES, WORDS, Images, Words
from conversion.zoo import difference, randomise
from torch import Tensor, nn

import onepath as op
from onepath.conversion.importance import permute_units
from onepath.conversion.running import run, same_values
from onepath.conversion.settling import Settling
from onepath.conversion.tracing import trace_passes
from onepath.errors import ConfigurationError
from onepath.nn.adapted import Adapted, FirstInput
from onepath.nn.attention import HeadAttention
from onepath.space.ends import end_of

Network = Images | Words
EVERY = pytest.mark.parametrize("kind", [*IMAGES, *WORDS])


def made(kind: type[Any]) -> tuple[nn.Module, Tensor]:
    """A network of doubles with random parameters, and an input."""
    torch.manual_seed(0)
    model = kind().double().eval()
    randomise(model)
    if issubclass(kind, Words):
        return model, torch.randint(20, (2, 6))
    return model, torch.randn(2, 3, 8, 8, dtype=torch.double)


def converted(kind: type[Any], **options: Any) -> tuple[nn.Module, op.Supernet, Tensor]:
    model, x = made(kind)
    return model, op.convert(model, x, **options).eval(), x


def largest(supernet: op.Supernet) -> op.Architecture:
    return end_of(supernet.space, max)


def smallest(supernet: op.Supernet) -> op.Architecture:
    return end_of(supernet.space, min)


def some(supernet: op.Supernet, num: int = 10) -> list[op.Architecture]:
    drawn = supernet.space.sample(num, np.random.default_rng(0))
    return [smallest(supernet), *supernet.space.architectures(drawn)]


def shrunk(kind: type[Any]) -> nn.Module:
    supernet = converted(kind)[1]
    return supernet.extract(smallest(supernet))


def options(supernet: op.Supernet) -> dict[str, tuple[Any, ...]]:
    return {choice.name: choice.options for choice in supernet.space.choices}


@EVERY
def test_the_largest_architecture_is_the_model(kind: type[Any]) -> None:
    model, supernet, x = converted(kind)
    with torch.no_grad():
        assert difference(model(x), supernet(x, largest(supernet))) < 1e-10
        assert difference(model(x), supernet.extract(largest(supernet)).eval()(x)) < 1e-10


@EVERY
def test_extracted_networks_equal_the_supernet_and_are_plain(kind: type[Any]) -> None:
    model, supernet, x = converted(kind)
    full = sum(parameter.numel() for parameter in model.parameters())
    for architecture in some(supernet):
        plain = supernet.extract(architecture).eval()
        with torch.no_grad():
            assert difference(supernet(x, architecture), plain(x)) < 1e-12
        assert not any(isinstance(module, Adapted) for module in plain.modules())
        assert sum(parameter.numel() for parameter in plain.parameters()) <= full
    assert sum(p.numel() for p in supernet.extract(smallest(supernet)).parameters()) < full


@EVERY
def test_what_an_architecture_leaves_out_is_never_read(kind: type[Any]) -> None:
    """NaN in every entry that an extracted network lacks reaches neither the output nor a gradient."""
    _, supernet, x = converted(kind)
    for architecture in some(supernet, 3):
        twin = supernet.copied().eval()
        twin.activate(twin.space.parse(str(architecture)))
        poison(twin)
        output = twin(x)
        output.sum().backward()
        assert bool(output.isfinite().all())
        for name, parameter in twin.named_parameters():
            if parameter.grad is not None:
                assert bool((parameter.grad[parameter.isnan()] == 0).all()), name
                assert bool(parameter.grad.isfinite().all()), name


@torch.no_grad()
def poison(supernet: op.Supernet) -> None:
    for module in supernet.modules():
        if isinstance(module, Adapted):
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and tensor.is_floating_point():
                    keep = torch.zeros_like(tensor, dtype=torch.int64)
                    places = torch.arange(tensor.numel()).reshape(tensor.shape)
                    active = module.adaptation.tensor(name, places, module.selection.options).flatten()
                    keep.view(-1)[active] = 1
                    tensor.masked_fill_(keep == 0, torch.nan)


@EVERY
def test_units_of_a_family_can_be_exchanged_but_only_in_all_tensors_together(kind: type[Any]) -> None:
    model, x = made(kind)
    traced = trace_passes(model, (x,))
    settling = Settling(model, (x,), traced.trace, {}, (0.5, 1.0), 8, heads=True, returned=run(model, (x,)))
    layout, adaptations = settling.settled()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        before = model(x)
        for family in adaptations.choices:
            num = len(layout.families[family].roots)
            order = np.roll(rng.permutation(num), 1)
            permute_units(layout, {family: order})
            assert difference(before, model(x)) < 1e-10
            place = layout.families[family].places[0]
            source = layout.sources[place[0]].tensor
            kept = source.clone()
            source.copy_(source.roll(source.shape[place[1]] // 2 + 1, place[1]))
            assert difference(before, model(x)) > 1e-6
            source.copy_(kept)


@EVERY
def test_every_module_is_in_the_report_once(kind: type[Any]) -> None:
    model, supernet, _ = converted(kind)
    report = supernet.conversion
    assert [row.path for row in report.rows] == [path for path, _ in model.named_modules()]
    assert all(bool(row.choices) != bool(row.reason) for row in report.rows)
    assert sum(row.params for row in report.rows) == sum(p.numel() for p in model.parameters())
    named = {name for row in report.rows for name in row.choices}
    assert named == set(options(supernet))
    assert 0 < report.elastic_macs_share <= 1
    text = str(report)
    assert all(f"{row.params:,}" in text for row in report.rows if row.params)
    assert "elastic: " in text


@EVERY
def test_the_model_is_not_changed_and_the_same_call_gives_the_same(kind: type[Any]) -> None:
    model, x = made(kind)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = op.convert(model, x), op.convert(model, x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert first.space.fingerprint == second.space.fingerprint
    for one, two in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (networks.Chain, {"stem.width": (8, 16), "conv.width": (8, 16)}),
        (networks.Concat, {"stem.width": (8, 16), "one.width": (8, 16)}),
        (
            networks.Halves,
            {"stem.width": (8, 16), "one.width": (8, 16)},
        ),  # the code names where the second begins
        (networks.Grouped, {"stem.width": (16, 32)}),
        (networks.Squeezed, {"stem.width": (8, 16), "reduce.width": (8, 16)}),
        (networks.Gated, {"stem.width": (8, 16), "gates.width": (16, 32), "chunks.width": (16, 32)}),
        (networks.Normalised, {"stem.width": (16, 32)}),
        (networks.Upscaled, {"stem.width": (16, 32), "wide.width": (8, 16)}),
        (networks.Shared, {"stem.width": (8, 16)}),
        (networks.Shuffled, {"stem.width": (16, 32), "point.width": (16, 32)}),
        (networks.TokenMix, {"embedding.width": (16, 32), "qkv.heads": (2, 4), "mlp.0.width": (32, 64)}),
        (networks.HeadsMajor, {"embedding.width": (16, 32), "qkv.heads": (2, 4), "mlp.0.width": (32, 64)}),
    ],
)
def test_what_belongs_together(kind: type[Any], expected: dict[str, tuple[int, ...]]) -> None:
    _, supernet, _ = converted(kind, widths=(0.5, 1.0))
    assert options(supernet) == expected


def test_torchs_own_transformer_layer_loses_heads() -> None:
    _, supernet, _ = converted(networks.Encoder)
    assert options(supernet)["layer.self_attn.heads"] == (2, 3, 4)
    attention = supernet.extract(smallest(supernet)).layer.self_attn  # type: ignore[union-attr]
    assert isinstance(attention, HeadAttention)
    assert (attention.num_heads, attention.head_dim, attention.in_proj_weight.shape[0]) == (2, 8, 3 * 16)
    assert "layer.self_attn.heads" not in options(converted(networks.Encoder, heads=False)[1])


def test_what_the_code_fixes_is_left_alone_with_a_reason() -> None:
    rows = {row.path: row for row in converted(networks.HardCoded)[1].conversion.rows}
    assert rows["conv"].choices == ("stem.width",)
    with pytest.raises(ConfigurationError, match="own code does not take another size"):
        converted(networks.HardCoded, pin=["stem"])
    rows = {row.path: row for row in converted(networks.Unknown)[1].conversion.rows}
    assert (rows["conv"].choices, rows["last"].choices) == (("stem.width",), ("last.width",))
    with pytest.raises(ConfigurationError, match="linalg_qr has no rule"):
        converted(networks.Unknown, pin=["stem", "last"])


def test_large_values_are_no_mistake_and_mixed_channels_are() -> None:
    torch.manual_seed(0)
    one = torch.cat([torch.tensor([1e8]), torch.randn(9)])
    assert same_values([one], [one + 10])
    assert not same_values([one], [one.roll(1)])
    assert same_values([one, torch.arange(3)], [one.roll(1), torch.arange(3)])  # boxes and their classes


def test_depth_leaves_out_the_last_blocks_of_a_row() -> None:
    model, supernet, x = converted(networks.Residual)
    assert options(supernet)["stage1.depth"] == (1, 2, 3)
    assert options(supernet)["stage2.depth"] == (0, 1)
    chosen = largest(supernet).options | {"stage1.depth": 1, "stage2.depth": 0}
    plain: Any = supernet.extract(supernet.space.parse(chosen)).eval()
    assert [type(block) for block in plain.stage1] == [networks.Block, nn.Identity, nn.Identity]
    shortened: Any = model
    shortened.stage1[1] = shortened.stage1[2] = shortened.stage2[1] = nn.Identity()
    with torch.no_grad():
        assert difference(shortened(x), plain(x)) < 1e-10
    assert not any("depth" in name for name in options(converted(networks.Residual, depth=False)[1]))


def test_a_block_with_further_arguments_is_left_out_too() -> None:
    _, supernet, x = converted(networks.Told)
    chosen = supernet.space.parse(largest(supernet).options | {"blocks.depth": 1})
    plain: Any = supernet.extract(chosen).eval()
    assert [type(block) for block in plain.blocks] == [networks.Sized, FirstInput]
    with torch.no_grad():
        assert torch.equal(plain(x), supernet(x, chosen))


def test_choices_of_a_block_that_is_left_out_are_not_active() -> None:
    _, supernet, _ = converted(networks.Residual)
    chosen = largest(supernet).options | {"stage1.depth": 1}
    active = supernet.space.parse(chosen).options
    assert "stage1.0.conv1.width" in active
    assert "stage1.1.conv1.width" not in active
    assert "stage1.2.conv1.width" not in active


def test_a_kernel_is_the_centre_of_the_largest() -> None:
    model, supernet, x = converted(networks.Depthwise)
    assert options(supernet)["depthwise.kernel"] == (3, 5, 7)
    plain: Any = supernet.extract(supernet.space.parse(largest(supernet).options | {"depthwise.kernel": 3}))
    assert (plain.depthwise.kernel_size, plain.depthwise.padding) == ((3, 3), (1, 1))
    cut: Any = model
    with torch.no_grad():
        mask = torch.zeros(7, 7, dtype=torch.double)
        mask[2:5, 2:5] = 1
        cut.depthwise.weight.mul_(mask)
        assert difference(cut(x), plain.eval()(x)) < 1e-10
    assert "depthwise.kernel" not in options(converted(networks.Depthwise, kernels=False)[1])


def test_a_learned_kernel_begins_as_the_centre_and_is_trained() -> None:
    _, plain, x = converted(networks.Depthwise)
    _, learned, _ = converted(networks.Depthwise, kernels="learned")
    for side in (3, 5, 7):
        chosen = largest(plain).options | {"depthwise.kernel": side, "stem.width": 8}
        with torch.no_grad():
            one, two = plain(x, plain.space.parse(chosen)), learned(x, learned.space.parse(chosen))
            assert torch.equal(one, two)
    layer: Any = learned.module.depthwise  # type: ignore[union-attr]
    for matrix in layer.transforms.values():
        nn.init.normal_(matrix)
    small = learned.space.parse(largest(learned).options | {"depthwise.kernel": 3, "stem.width": 8})
    learned(x, small).sum().backward()
    assert all(matrix.grad is not None for matrix in layer.transforms.values())
    found: Any = learned.extract(small).eval()
    assert set(found.depthwise.state_dict()) == {"weight", "bias"}
    with torch.no_grad():
        assert difference(learned(x, small), found(x)) < 1e-12


def test_the_channels_that_matter_most_stay() -> None:
    model, x = made(networks.Chain)
    important = [3, 5, 6, 9, 11, 12, 14, 15]
    others = [number for number in range(16) if number not in important]
    network: Any = model
    with torch.no_grad():
        for tensor in (network.stem.weight, network.bn.weight):
            tensor[others] *= 1e-3
        network.conv.weight[:, others] *= 1e-3
    original = network.stem.weight.detach().clone()
    supernet = op.convert(model, x, widths=(0.5, 1.0))
    kept: Any = supernet.extract(smallest(supernet))
    rows = {tuple(row.flatten().tolist()) for row in original[important]}
    assert {tuple(row.flatten().tolist()) for row in kept.stem.weight} == rows


def test_importance_is_measured_on_data_where_there_are_any() -> None:
    """A channel of great weights that no class depends on goes first, by the gradient of the loss."""
    model, x = made(networks.Chain)
    network: Any = model
    with torch.no_grad():
        network.conv.weight[:8] *= 10
        network.head.weight[:, :8] *= 1e-9
    batches = [(x, torch.tensor([0, 3]))]
    original = network.conv.weight.detach().clone()
    supernet = op.convert(model, x, widths=(0.5, 1.0), data=batches, pin=["stem"])
    kept: Any = supernet.extract(smallest(supernet))
    rows = {tuple(row.flatten().tolist()) for row in original[8:]}
    assert {tuple(row.flatten().tolist()) for row in kept.conv.weight} == rows


def test_a_task_gives_the_data() -> None:
    data = op.load_data("digits")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).relu().mean((2, 3)))

    supernet = op.convert(Net().eval(), torch.randn(2, 1, 8, 8), data=data)
    assert options(supernet) == {"conv.width": (8, 16)}


def test_training_updates_only_what_is_active_and_the_right_statistics() -> None:
    _, supernet, x = converted(networks.Concat)
    supernet.train()
    module: Any = supernet.module
    architecture = supernet.space.parse(largest(supernet).options | {"one.width": 8})
    before = module.norm._buffers["running_mean"].clone()
    supernet(x, architecture).sum().backward()
    changed = module.norm._buffers["running_mean"] != before
    active = [*range(8), *range(16, 40)]
    assert changed.nonzero().flatten().tolist() == active
    plain: Any = supernet.copied().extract(architecture).train()
    plain(x)
    grad = module.one._parameters["weight"].grad
    assert bool((grad[8:] == 0).all())
    assert bool((grad[:8] != 0).any())


def test_tied_weights_stay_tied() -> None:
    _, supernet, _ = converted(networks.TokenMix)
    plain: Any = supernet.extract(smallest(supernet)).eval()
    assert plain.head.weight is plain.embedding.weight
    assert plain.head.weight.shape == (20, 16)


def test_layers_note_their_own_sizes() -> None:
    plain: Any = shrunk(networks.Grouped)
    assert (plain.stem.out_channels, plain.grouped.in_channels, plain.grouped.groups) == (16, 16, 4)
    assert (plain.wider.in_channels, plain.wider.out_channels, plain.wider.groups) == (16, 32, 2)
    assert plain.head.in_features == 32
    norms: Any = shrunk(networks.Normalised)
    assert (norms.groups.num_groups, norms.groups.num_channels, norms.layer.normalized_shape) == (
        2,
        16,
        (16,),
    )


def test_pins_keep_sizes_and_say_so() -> None:
    _, supernet, _ = converted(networks.Residual, pin=["stage1*", "stem"])
    rows = {row.path: row for row in supernet.conversion.rows}
    assert rows["stage1.0.conv1"].reason == "it is pinned"
    assert not any(name.startswith(("stem", "stage1")) for name in options(supernet))
    assert "stage2.0.conv1.width" in options(supernet)


def test_blocks_of_choices_mix_with_converted_layers() -> None:
    class Mixed(networks.Chain):
        def __init__(self) -> None:
            super().__init__()
            self.block = op.ChoiceBlock({"k1": nn.Conv2d(16, 16, 1), "k3": nn.Conv2d(16, 16, 3, padding=1)})

        def body(self, x: Tensor) -> Tensor:
            return self.conv(self.block(x))

    _, supernet, x = converted(Mixed)
    assert options(supernet)["block"] == ("k1", "k3")
    assert options(supernet)["stem.width"] == (8, 16)
    for architecture in some(supernet):
        with torch.no_grad():
            assert difference(supernet(x, architecture), supernet.extract(architecture).eval()(x)) < 1e-12


def test_a_limit_counts_a_converted_network_exactly() -> None:
    _, supernet, _ = converted(networks.Residual)
    supernet = supernet.float()
    for architecture in some(supernet, 4):
        counted = op.cost.macs(supernet, architecture, (3, 8, 8))
        assert counted == op.cost.module_cost(supernet.extract(architecture), (3, 8, 8)).macs


class Branching(nn.Module):
    """Control flow that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.never = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(8, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.one if x.sum() > 0 else self.two
        return self.head((self.never if x.shape[-1] == 9 else layer)(x).relu())


def test_both_branches_belong_to_what_follows_them_and_what_never_runs_stays() -> None:
    model = Branching().double().eval()
    randomise(model)
    x = torch.ones(1, 8, dtype=torch.double)
    supernet = op.convert(model, x).eval()
    assert options(supernet) == {"one.width": (8, 16)}
    assert supernet.conversion.value_reads == ("",)
    assert str(supernet.conversion).endswith(supernet.conversion.remark)
    assert "The code of the model itself branches on values" in supernet.conversion.remark
    assert op.convert(networks.Residual(), torch.zeros(1, 3, 8, 8)).conversion.remark == ""
    rows = {row.path: row for row in supernet.conversion.rows}
    assert rows["two"].choices == rows["head"].choices == ("one.width",)
    assert rows["never"].reason == "it does not run with the example inputs"
    for inputs in (x, -x):
        with torch.no_grad():
            assert difference(model(inputs), supernet(inputs, largest(supernet))) < 1e-10
            assert supernet.extract(smallest(supernet))(inputs).shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: op.convert("resnet", x), "model must be an nn.Module, but got 'resnet'"),
        (lambda m, x: op.convert(m, x, widths=(0.5, 1.5)), "widths must be shares above 0 and at most 1"),
        (lambda m, x: op.convert(m, x, widths=()), "widths must be shares above 0 and at most 1"),
        (lambda m, x: op.convert(m, x, kernels="learn"), "kernels must be True, False or 'learned'"),
        (lambda m, x: op.convert(m, x, divisor=0), "divisor must be a whole number of 1 or more"),
        (lambda m, x: op.convert(m, x, pin=["nowhere"]), "none is called 'nowhere'"),
        (
            lambda m, x: op.convert(m, x[:, :1]),
            "must run with the example inputs, but Chain raised RuntimeError",
        ),
        (lambda m, x: op.convert(nn.Linear(4, 2), torch.ones(1, 4)), "must have a part that can be elastic"),
        (
            lambda m, x: op.convert(nn.ReLU(), x),
            "must have a part that can be elastic, but ReLU has none; allow",
        ),
        (lambda m, x: op.convert(m, x, divisor=64), "channels cannot be fewer in steps of 64"),
    ],
)
def test_mistakes_are_one_line(call: Callable[[nn.Module, Tensor], Any], message: str) -> None:
    model, x = made(networks.Chain)
    with pytest.raises(ConfigurationError, match=message) as caught:
        call(model, x)
    assert "\n" not in str(caught.value)
