from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from nn.networks import EveryChoice, warmed
from torch import nn

from onepath import spaces
from onepath.errors import BindingError, SpaceError
from onepath.nn import ChoiceBlock, ElasticConv2d, ElasticDepth, ElasticLinear, Gate, Supernet
from onepath.nn.inputs import input_dtype
from onepath.space import Choice

# Dropout draws anew in every pass.
ARGUMENTS = {
    "darts-rnn": dict.fromkeys(
        (f"dropout_{place}" for place in ("words", "inputs", "cell_inputs", "states", "outputs")), 0.0
    )
}


def every_space() -> dict[str, tuple[Supernet, tuple[int, ...]]]:
    """A supernet of every ready-made space, and one of every kind of choice."""
    names = filter(spaces.has_supernet, spaces.names())
    made = {
        name: spaces.build(
            name, num_classes=5, input_size=16, in_channels=3, width=0.25, **ARGUMENTS.get(name, {})
        )
        for name in names
    }
    made["every-choice"] = Supernet(EveryChoice())
    return {name: (supernet, spaces.example_shape(supernet, 16, 3)) for name, supernet in made.items()}


SPACES = every_space()


def examples(supernet: Supernet, num: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Random inputs: pixels, or words of a vocabulary of 5."""
    if input_dtype(supernet).is_floating_point:
        return torch.randn(num, *shape)
    return torch.randint(0, 5, (num, *shape))


def test_binding_finds_every_choice_in_order() -> None:
    space = Supernet(EveryChoice()).space
    assert set(space.names) == {
        "width", "depth", "ratio", "kernel0", "kernel1", "kernel2", "mixed", "mixed.candidates.0.1",
    }  # fmt: skip
    assert space.names.index("depth") < space.names.index("kernel1")
    assert space.names.index("mixed") < space.names.index("mixed.candidates.0.1")


def test_what_is_cut_off_or_not_chosen_is_inactive() -> None:
    space = Supernet(EveryChoice()).space
    options = {choice.name: choice.options[0] for choice in space.choices}
    shallow = space.architecture(options | {"depth": 1, "kernel1": 7, "mixed": "skip"})
    assert shallow == space.architecture(options | {"depth": 1, "kernel1": 3, "mixed": "skip"})
    assert "kernel0" in shallow.options
    assert not {"kernel1", "kernel2", "mixed.candidates.0.1"} & set(shallow.options)
    deep = space.architecture(options | {"depth": 2, "kernel1": 7, "mixed": "conv"})
    assert {"kernel1", "mixed.candidates.0.1"} <= set(deep.options)
    # width 3 * ratio 3 * (3 + 9 + 27 kernels by depth) * (2 activations + skip)
    assert space.size == 3 * 3 * (3 + 9 + 27) * 3


@pytest.mark.parametrize("name", SPACES)
def test_extracted_network_has_the_same_values_and_only_plain_layers(name: str) -> None:
    supernet, shape = SPACES[name]
    warmed(supernet).eval()
    rng = np.random.default_rng(0)
    x = examples(supernet, 2, shape)
    for _ in range(6):
        architecture = supernet.space.random(rng)
        model = supernet.extract(architecture)
        assert not model.training
        with torch.no_grad():
            assert (model(x) - supernet(x, architecture)).abs().max() <= 1e-6
        for module in model.modules():
            assert not isinstance(module, ChoiceBlock | ElasticConv2d | ElasticLinear | ElasticDepth)
            assert not type(module).__name__.startswith("Elastic")


@pytest.mark.parametrize("name", SPACES)
def test_extracted_network_trains_like_the_path(name: str) -> None:
    supernet, shape = SPACES[name]
    supernet = copy.deepcopy(supernet).train()
    for dropout in (module for module in supernet.modules() if isinstance(module, nn.Dropout)):
        dropout.p = 0.0
    architecture = supernet.space.random(np.random.default_rng(1))
    model = supernet.extract(architecture)
    x = examples(supernet, 4, shape)
    supernet(x, architecture).square().sum().backward()
    model(x).square().sum().backward()
    # An extracted kernel is the product of matrices that the supernet trains beside it.
    own = [p for name, p in supernet.named_parameters() if ".transforms." not in name]
    ours = sorted(float(p.grad.norm()) for p in own if p.grad is not None and p.grad.norm() > 0)
    theirs = sorted(float(p.grad.norm()) for p in model.parameters() if p.grad.norm() > 0)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_extracted_network_shares_no_memory() -> None:
    supernet, shape = SPACES["every-choice"]
    supernet.eval()
    architecture = supernet.space.random(np.random.default_rng(0))
    x = torch.randn(1, *shape)
    before = supernet(x, architecture).clone()
    model = supernet.extract(architecture)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.zero_()
    assert torch.equal(supernet(x, architecture), before)


def test_only_the_path_has_gradients() -> None:
    supernet, shape = SPACES["shufflenet"]
    supernet.train().zero_grad()
    architecture = supernet.space.random(np.random.default_rng(3))
    supernet(torch.randn(2, *shape), architecture).sum().backward()
    for name, block in supernet.module.named_modules():
        if isinstance(block, ChoiceBlock):
            for option, candidate in zip(block.names, block.candidates, strict=True):
                has = any(p.grad is not None for p in candidate.parameters())
                assert has == (option == architecture[name])


def test_fresh_weights_depend_on_the_seed_alone_and_affine_is_learned() -> None:
    supernet, shape = SPACES["shufflenet"]
    architecture = supernet.space.random(np.random.default_rng(0))
    state = torch.random.get_rng_state()
    first = supernet.extract(architecture, inherit=False, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    again, other = (supernet.extract(architecture, inherit=False, seed=seed) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert all(m.affine for m in first.modules() if isinstance(m, nn.BatchNorm2d))
    inherited = supernet.extract(architecture)
    assert not any(m.affine for m in inherited.modules() if isinstance(m, nn.BatchNorm2d))
    assert first(torch.randn(2, *shape)).shape == (2, 5)


def test_fresh_weights_need_an_initialisation() -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

    supernet = Supernet(nn.Sequential(ChoiceBlock({"a": nn.ReLU(), "b": nn.Tanh()}), Owner()))
    with pytest.raises(
        BindingError, match=r"1: a module that owns parameters must have a method reset_parameters"
    ):
        supernet.extract(supernet.space.parse("0"), inherit=False)


def test_behaves_as_any_module() -> None:
    supernet, shape = SPACES["every-choice"]
    supernet.eval()
    architecture = supernet.space.random(np.random.default_rng(5))
    x = torch.randn(2, *shape)
    expected = supernet(x, architecture)
    twin = copy.deepcopy(supernet)
    assert torch.equal(twin(x, architecture), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(supernet(x, architecture), expected)
    twin.load_state_dict(supernet.state_dict())
    assert torch.equal(twin(x, twin.space.parse(str(architecture))), expected)
    doubled = copy.deepcopy(supernet).to(torch.float64)
    assert torch.allclose(doubled(x.double(), architecture).float(), expected, atol=1e-5)
    assert supernet.on_meta()(x.to("meta"), architecture).shape == expected.shape
    assert all(module.training for module in supernet.train().modules())


def test_deep_copies_run_different_paths_at_once() -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock({"relu": nn.ReLU(), "double": Double()})))
    twin = copy.deepcopy(supernet)
    supernet.activate(supernet.space.parse("0"))
    twin.activate(twin.space.parse("1"))
    assert supernet(torch.tensor(-1.0)) == 0.0
    assert twin(torch.tensor(-1.0)) == -2.0


class Double(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_supernet_of_a_supernet_is_the_same() -> None:
    supernet, _ = SPACES["shufflenet"]
    assert Supernet(supernet).space.names == supernet.space.names


def test_extraction_leaves_the_active_path_alone() -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock({"relu": nn.ReLU(), "double": Double()})))
    supernet.activate(supernet.space.parse("0"))
    supernet.extract(supernet.space.parse("1"))
    assert supernet(torch.tensor(-1.0)) == 0.0
    supernet.activate({"0": Gate.subset((0, 1))})
    supernet.extract(supernet.space.parse("1"))
    assert supernet(torch.tensor(1.0)) == 3.0


def test_a_module_used_twice_stays_one() -> None:
    shared = nn.Linear(2, 2)
    supernet = Supernet(nn.Sequential(shared, ChoiceBlock({"a": nn.ReLU(), "b": nn.Tanh()}), shared))
    model = supernet.extract(supernet.space.parse("0"))
    assert model[0] is model[2]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "needs at least one choice"),
        (
            nn.ModuleDict({
                "first": ElasticLinear(2, Choice("width", [2, 4])),
                "second": ElasticLinear(Choice("width", [2, 4]), 2),
            }),
            r"second: choices must have distinct names, but 'width' .* at first",
        ),
        (
            nn.ModuleDict({"a": ChoiceBlock([nn.ReLU()]), "b": ElasticLinear(2, Choice("a", [2, 4]))}),
            "b: choices must have distinct names",
        ),
    ],
)  # fmt: skip
def test_inconsistent_modules_are_rejected_with_their_path(module: nn.Module, message: str) -> None:
    with pytest.raises(BindingError, match=message):
        Supernet(module)


def test_architecture_of_another_space_is_rejected() -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock({"a": nn.ReLU(), "b": nn.Tanh()})))
    other = Supernet(nn.Sequential(ChoiceBlock({"a": nn.ReLU(), "c": nn.Tanh()})))
    with pytest.raises(SpaceError, match="supernet's own space"):
        supernet(torch.zeros(1), other.space.parse("0"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Dynamo's own look at an activation
def test_new_paths_never_compile_again() -> None:
    import torch._dynamo
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    supernet = spaces.build("shufflenet", num_classes=5, input_size=16, in_channels=3, width=0.25)
    counter = CompileCounter()
    num = supernet.compile_candidates(backend=counter)
    assert num == 80
    x = torch.randn(2, 3, 16, 16)
    for block in range(4):  # every candidate once
        supernet(x, supernet.space.parse(",".join([str(block)] * 20))).sum().backward()
    graphs = counter.frame_count
    rng = np.random.default_rng(0)
    for _ in range(50):
        supernet(x, supernet.space.random(rng)).sum().backward()
    assert counter.frame_count == graphs
    assert graphs <= num
