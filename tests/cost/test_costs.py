"""What holds for every cost: the contract of `Cost`, and closed forms of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from nn.networks import EveryChoice
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import onepath as op
from onepath import cost, spaces
from onepath.cost import COSTS, Cost, CostLimit, Counted, cost_of, counter, module_cost
from onepath.errors import ConfigurationError, InfeasibleError, SpaceError
from onepath.methods import feasible_set
from onepath.nn import ChoiceBlock, ElasticConv2d, ElasticLinear, Supernet
from onepath.space import Choice

SHAPE = (3, 16, 16)


class Wide(nn.Module):
    """A width and an operation or nothing: every cost rises with both."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", [4, 8, 16])
        self.stem = ElasticConv2d(3, width, 3, padding=1)
        self.more = ChoiceBlock(
            {"skip": nn.Identity(), "conv": ElasticConv2d(width, width, 3, padding=1)},
        )
        self.head = ElasticLinear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.more(self.stem(x)).mean((2, 3)))
        return output


SUPERNETS = {
    "every-choice": Supernet(EveryChoice()),
    "wide": Supernet(Wide()),
    "nasbench-macro": spaces.build("nasbench-macro", 5, input_size=16, width=0.25),
    "shufflenet": spaces.build("shufflenet", 5, input_size=16, width=0.25),
}


def depth(model: nn.Module, input_shape: tuple[int, ...]) -> Counted:
    """Convolutions of more than one place."""
    del input_shape
    kernels = {m: 1 for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)}
    return Counted(len(kernels), by_module=kernels)


OWN = Cost("kernels", "kernels", "kernels", "Most convolutions that look around", depth, is_additive=True)
ALL = [*COSTS.values(), OWN]


def by_name(each: Cost) -> str:
    return each.name


@pytest.mark.parametrize("each", ALL, ids=by_name)
@pytest.mark.parametrize("name", SUPERNETS)
def test_many_at_once_are_the_single_counts(name: str, each: Cost) -> None:
    supernet = SUPERNETS[name]
    matrix = supernet.space.sample(4, np.random.default_rng(11))
    direct = [
        each.count(supernet.extract(architecture, inherit=False), SHAPE).total
        for architecture in supernet.space.architectures(matrix)
    ]
    costs, table = counter(supernet, SHAPE, each)
    assert costs(matrix).tolist() == direct
    assert min(direct) >= 0
    assert (table is not None) == each.is_additive
    if table is not None:
        assert table.costs(supernet.space, matrix).tolist() == direct


@pytest.mark.parametrize("each", ALL, ids=by_name)
@pytest.mark.parametrize("name", ["every-choice", "wide"])
def test_what_is_drawn_under_a_limit_is_within_it(name: str, each: Cost) -> None:
    supernet = SUPERNETS[name]
    if not each.is_additive and name != "wide":
        pytest.skip("hundreds of draws are counted one by one")
    costs, _ = counter(supernet, SHAPE, each)
    known = np.sort(costs(supernet.space.sample(12, np.random.default_rng(3))))
    limit = CostLimit(each, int(known[4]))
    drawn = feasible_set(supernet, SHAPE, [limit]).sample(8, np.random.default_rng(5))
    for architecture in supernet.space.architectures(drawn):
        model = supernet.extract(architecture, inherit=False)
        assert each.count(model, SHAPE).total <= limit.maximum


@pytest.mark.parametrize("each", ALL, ids=by_name)
def test_a_limit_below_every_cost_is_refused(each: Cost) -> None:
    with pytest.raises(InfeasibleError, match=f"max_{each.name}"):
        feasible_set(SUPERNETS["wide"], SHAPE, [CostLimit(each, 0.5)]).sample(1, np.random.default_rng(0))


@pytest.mark.parametrize("each", ALL, ids=by_name)
def test_more_of_everything_costs_no_less(each: Cost) -> None:
    supernet = SUPERNETS["wide"]
    costs, _ = counter(supernet, SHAPE, each)
    matrix = supernet.space.enumerate_matrix()
    found = dict(zip(map(tuple, matrix.tolist()), costs(matrix).tolist(), strict=True))
    for smaller, less in found.items():
        for larger, more in found.items():
            if all(a <= b for a, b in zip(smaller, larger, strict=True)):
                assert less <= more


@pytest.mark.parametrize("each", ALL, ids=by_name)
def test_shares_sum_up_to_the_total(each: Cost) -> None:
    model = torchvision.models.mobilenet_v3_small(num_classes=7)
    counted = each.count(model, (3, 32, 32))
    shares = [*counted.by_module.values(), *counted.by_tensor.values()]
    assert counted.total > 0
    assert bool(shares) == each.is_additive
    assert not shares or sum(shares) == counted.total


def test_closed_forms_of_one_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    found = {name: each.count(model, (3, 4, 4)).total for name, each in COSTS.items()}
    params = 3 * 4 * 9 + 4 + 8 + 64 * 2 + 2
    assert found == {
        "macs": 16 * 3 * 4 * 9 + 64 * 2,
        "params": params,
        "layers": 2,
        "memory": 16 * (3 + 4) * 4,
        "size": 4 * (params + 8) + 8,  # with mean, variance and the count of batches, an int64
    }


def test_size_is_of_the_types_and_counts_what_is_tied_once() -> None:
    size = COSTS["size"]
    tied = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    assert size.count(tied, (8,)).total == 2 * 64 * 4
    tied[1].weight = tied[0].weight
    assert size.count(tied, (8,)).total == 64 * 4
    assert size.count(tied.half(), (8,)).total == 64 * 2
    tied.register_buffer("steps", torch.zeros(3, dtype=torch.int8))
    assert size.count(tied, (8,)).total == 64 * 2 + 3


MODELS = {
    "alexnet": 64,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "mnasnet0_5": 32,
    "mobilenet_v3_small": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "vgg11_bn": 32,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_torchvisions_networks_count_as_torch_counts(name: str) -> None:
    shape = (3, MODELS[name], MODELS[name])
    more = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, **more).eval()
        with FlopCounterMode(display=False) as torchs, torch.no_grad():
            model(torch.zeros(1, *shape))
    found = module_cost(model, shape)
    assert found.macs == torchs.get_total_flops() // 2 > 0
    assert found.uncounted == {}
    assert found.params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("limit", "maximum"),
    [
        (op.MaxMacs("1.5M"), 1_500_000),
        (op.MaxParams("2k"), 2_000),
        (op.MaxLayers(7), 7),
        (op.MaxMemory("256KiB"), 262_144),
        (op.MaxMemory("1.5kB"), 1_500),
        (op.MaxSize("1MB"), 1_000_000),
        (op.MaxSize("2MiB"), 2_097_152),
        (CostLimit(OWN, "3"), 3),
    ],
)
def test_limits_read_the_units_of_their_cost(limit: CostLimit, maximum: float) -> None:
    assert limit.maximum == maximum
    assert limit.name == f"max_{limit.cost.name}"
    assert repr(limit).endswith(f"({maximum:_})")
    bound = limit.bind(SUPERNETS["wide"], SHAPE)
    assert (bound.name, bound.unit, bound.maximum) == (limit.name, limit.cost.unit, maximum)


@pytest.mark.parametrize("each", ALL, ids=by_name)
@pytest.mark.parametrize("maximum", [0, -1, "0", "much", "1.5", "3 parsecs", None, True, float("nan"), []])
def test_no_limit_is_one_line(each: Cost, maximum: object) -> None:
    with pytest.raises(ConfigurationError, match=f"max_{each.name} ") as error:
        CostLimit(each, maximum)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")


def test_bytes_are_no_counts() -> None:
    with pytest.raises(ConfigurationError, match="max_macs must be a whole number"):
        op.MaxMacs("256KiB")
    with pytest.raises(ConfigurationError, match="max_size must be a number of bytes"):
        op.MaxSize("3 parsecs")


def test_costs_by_name() -> None:
    assert list(COSTS) == ["macs", "params", "layers", "memory", "size"]
    assert all(cost_of(name) is each and each.name == name for name, each in COSTS.items())
    assert cost_of(OWN) is OWN
    with pytest.raises(
        ConfigurationError, match="one of macs, params, layers, memory, size, but got 'joules'"
    ):
        cost_of("joules")
    assert COSTS["memory"].limit_type != COSTS["macs"].limit_type


def test_memory_has_no_table() -> None:
    with pytest.raises(SpaceError, match="adds up over the layers, but memory does not") as error:
        cost.table(SUPERNETS["wide"], SHAPE, "memory")
    assert "\n" not in str(error.value)
    assert op.MaxMemory("1MB").bind(SUPERNETS["wide"], SHAPE).table is None


def test_without_a_table_each_architecture_is_counted_once() -> None:
    seen: list[int] = []

    def count(model: nn.Module, input_shape: tuple[int, ...]) -> Counted:
        seen.append(len(input_shape))
        return Counted(sum(1 for _ in model.modules()))

    costs, _ = counter(SUPERNETS["wide"], SHAPE, Cost("modules", "modules", "modules", "Most", count))
    matrix = SUPERNETS["wide"].space.enumerate_matrix()
    first = costs(np.concatenate([matrix, matrix]))
    assert first.tolist() == [*costs(matrix).tolist(), *costs(matrix).tolist()]
    assert seen == [3] * len(matrix)


def test_a_search_stays_within_limits_on_bytes() -> None:
    supernet = SUPERNETS["wide"]
    limits = [op.MaxMemory("5KiB"), op.MaxSize("4kB"), op.MaxMacs("100k")]
    drawn = feasible_set(supernet, (3, 8, 8), limits).sample(6, np.random.default_rng(0))
    for limit in limits:
        assert (counter(supernet, (3, 8, 8), limit.cost)[0](drawn) <= limit.maximum).all()


class Spectrum(nn.Module):
    """A filter in the frequency domain, which has no counter."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])


@pytest.mark.parametrize("each", ALL, ids=by_name)
def test_only_what_counts_operations_needs_counters(each: Cost) -> None:
    supernet = Supernet(nn.Sequential(ChoiceBlock({"layer": nn.Linear(8, 8), "spectrum": Spectrum()})))
    if each.name == "macs":
        with pytest.raises(ConfigurationError, match="aten::_fft_r2c"):
            CostLimit(each, 10**9).bind(supernet, (8,))
    else:
        bound = CostLimit(each, 10**9).bind(supernet, (8,))
        assert bound.costs(supernet.space.enumerate_matrix()).shape == (2,)
