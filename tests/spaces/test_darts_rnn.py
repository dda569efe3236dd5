from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from data.texts import cycle_task, random_task

from onepath import cost, spaces
from onepath.errors import ConfigurationError, ShapeError, SpaceError
from onepath.nn import CarriedState, GatedPath, Supernet
from onepath.spaces.darts_rnn import ACTIVATIONS, DARTS_V1, DARTS_V2, NUM_NODES, darts_rnn
from onepath.spaces.language_model import LockedDropout
from onepath.train import Recipe, UniformSampler, evaluate, train_model, train_supernet

WORDS, HIDDEN = 11, 6
NO_DROPOUT = dict.fromkeys(
    (f"dropout_{name}" for name in ("words", "inputs", "cell_inputs", "states", "outputs")), 0.0
)
V2_NODES = [
    ("sigmoid", 0),
    ("relu", 1),
    ("relu", 1),
    ("identity", 1),
    ("tanh", 2),
    ("sigmoid", 5),
    ("tanh", 3),
    ("relu", 5),
]
FUNCTIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
}


def tiny(**options):
    return spaces.build("darts-rnn", WORDS, **{"hidden": HIDDEN, **NO_DROPOUT, **options})


def words(batch: int = 4, length: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, WORDS, (batch, length), generator=torch.Generator().manual_seed(seed))


def random_norms(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


def by_plain_loops(model, nodes, inputs, first) -> np.ndarray:
    """The paper's equations for a stand-alone network, word by word and stream by stream, in float64."""
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    embedding, bias = weights["decoder.weight"], weights["decoder.bias"]
    scores = np.zeros((*inputs.shape, len(bias)))
    for row, stream in enumerate(inputs.tolist()):
        output = first[row]
        for place, word in enumerate(stream):
            both = (
                weights["cell.from_input.weight"] @ embedding[word]
                + weights["cell.from_state.weight"] @ output
            )
            gate, candidate = np.split(both, 2)
            states = [output + FUNCTIONS["sigmoid"](gate) * (np.tanh(candidate) - output)]
            for number, (activation, source) in enumerate(nodes):
                gate, candidate = np.split(weights[f"cell.nodes.{number}.linear.weight"] @ states[source], 2)
                new = FUNCTIONS[activation](candidate)
                states.append(states[source] + FUNCTIONS["sigmoid"](gate) * (new - states[source]))
            output = np.mean(states[1:], axis=0)
            scores[row, place] = embedding @ output + bias
    return scores


def test_published_genotypes_round_trip() -> None:
    space = tiny().space
    for text in (DARTS_V2, DARTS_V1):
        architecture = space.parse(text)
        assert space.format(architecture) == text
        assert space.parse(str(architecture)) == architecture
        assert (
            space.parse(text.replace("range(1, 9)", "[1, 2, 3, 4, 5, 6, 7, 8]").replace("'", '"'))
            == architecture
        )
    found = space.parse(DARTS_V2).options
    assert [
        (found[f"{source}->{node}"], int(found[f"input of {node}"]))
        for node, (_, source) in enumerate(V2_NODES, 1)
    ] == V2_NODES
    assert space.parse(DARTS_V1) != space.parse(DARTS_V2)


def test_the_space_is_every_input_and_activation() -> None:
    assert tiny().space.size == math.factorial(NUM_NODES) * len(ACTIVATIONS) ** NUM_NODES
    small = tiny(num_nodes=2).space
    assert len({small.format(architecture) for architecture in small.enumerate()}) == small.size == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DARTS_V2.replace("('relu', 5)]", "('relu', 8)]"),
            "input of node 8 must be an earlier one, 0 to 7, but .* 8",
        ),
        (DARTS_V2.replace("range(1, 9)", "range(3, 9)"), r"the genotype has 8 and concat=range\(3,9\)"),
        (DARTS_V2.replace("('sigmoid', 0), ", ""), "the genotype has 7"),
        (DARTS_V2.replace("tanh", "none"), "got 'none'"),
        ("Genotype(recurrent=__import__('os'), concat=range(1, 9))", "an architecture is"),
    ],
)
def test_wrong_genotypes(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        tiny().space.parse(text)
    assert "\n" not in str(caught.value)


def test_the_network_is_the_papers_equations() -> None:
    supernet = tiny()
    model = supernet.extract(supernet.space.parse(DARTS_V2), inherit=False, seed=3).eval()
    for parameter in model.parameters():
        parameter.data.mul_(20)
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())
    inputs = words()
    first = torch.rand(4, HIDDEN, generator=torch.Generator().manual_seed(2))
    model.state.first = first
    scores = model(inputs)
    expected = by_plain_loops(model, V2_NODES, inputs, first.double().numpy())
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(scores.detach().numpy(), expected, atol=1e-6)


def test_published_number_of_parameters() -> None:
    with torch.device("meta"):
        supernet = Supernet(darts_rnn())
    assert cost.params(supernet, supernet.space.parse(DARTS_V2)) == 10_000 * 850 + 10_000 + 850 * 1700 * 10
    cell = (2 + NUM_NODES) * 850 * 1700
    assert cost.macs(supernet, supernet.space.parse(DARTS_V1), (35,)) == 35 * (cell + 850 * 10_000)


def test_costs_are_those_of_all_cells() -> None:
    supernet = tiny(num_nodes=3)
    for kind in ("macs", "params"):
        table = cost.table(supernet, (5,), kind)
        assert len({table.cost(supernet.space.random(np.random.default_rng(seed))) for seed in range(5)}) == 1


def test_extracted_networks_equal_the_supernet() -> None:
    supernet = tiny()
    random_norms(supernet)
    supernet.eval()
    for seed in range(4):
        architecture = supernet.space.random(np.random.default_rng(seed))
        model = supernet.extract(architecture)
        assert torch.equal(model.eval()(words()), supernet(words(), architecture)) or torch.allclose(
            model(words()), supernet(words(), architecture), atol=1e-6
        )
        names = {type(module).__name__ for module in model.modules()}
        assert not names & {"ChoiceBlock", "EdgeSum", "SearchNorm"}
    one, other = (supernet(words(), supernet.space.parse(text)) for text in (DARTS_V1, DARTS_V2))
    assert not torch.allclose(one, other, atol=1e-4)


def test_a_nodes_weight_is_shared_by_its_inputs_and_activations() -> None:
    supernet = tiny(num_nodes=3)
    num = sum(parameter.numel() for parameter in supernet.parameters())
    assert num == cost.params(supernet, supernet.space.random(np.random.default_rng(0)))
    moved = []
    for text in ("('tanh', 0), ('relu', 0), ('tanh', 1)", "('relu', 0), ('identity', 1), ('sigmoid', 2)"):
        supernet.zero_grad()
        genotype = f"Genotype(recurrent=[{text}], concat=range(1, 4))"
        supernet(words(), supernet.space.parse(genotype)).sum().backward()
        moved.append({name for name, parameter in supernet.named_parameters() if parameter.grad is not None})
    assert moved[0] == moved[1] == {name for name, _ in supernet.named_parameters()}


def test_a_relaxed_cell_is_the_released_mixture() -> None:
    supernet = tiny(num_nodes=2)
    random_norms(supernet)
    supernet.eval()
    torch.manual_seed(0)
    cell = supernet.module.cell
    blocks = {
        block.choice.name: block
        for block in supernet.module.modules()
        if hasattr(block, "gate_names") and block.choice.name.count(">")
    }
    weights = {name: torch.softmax(torch.randn(5), 0) for name in blocks}
    sums = {node.edges.choice.name: node.edges.relaxed_gate() for node in cell.nodes}
    gates = {
        **{
            name: type(next(iter(sums.values())))((0, 1, 2, 3, 4), weight) for name, weight in weights.items()
        },
        **sums,
    }
    x = torch.randn(4, 3, HIDDEN)
    supernet.activate(GatedPath(supernet.space.architecture([0] * supernet.space.num_choices), gates))
    outputs, _ = cell(x, torch.zeros(4, HIDDEN))
    state, expected = torch.zeros(4, HIDDEN), []
    for place in range(3):
        gate, candidate = (cell.from_input(x[:, place]) + cell.from_state(state)).chunk(2, -1)
        states = [cell.norm(state + gate.sigmoid() * (candidate.tanh() - state))]
        for number in (1, 2):
            total = torch.zeros(4, HIDDEN)
            for source, earlier in enumerate(states):
                gate, candidate = cell.nodes[number - 1].linear(earlier).chunk(2, -1)
                for index, name in enumerate(ACTIVATIONS):
                    new = candidate if name == "identity" else getattr(torch, name)(candidate)
                    total = total + weights[f"{source}->{number}"][index] * (
                        earlier + gate.sigmoid() * (new - earlier)
                    )
            states.append(cell.norm(total))
        state = (states[1] + states[2]) / 2
        expected.append(state)
    assert torch.allclose(outputs, torch.stack(expected, 1), atol=1e-6)


def test_locked_masks_stay_the_same_over_a_chunk() -> None:
    torch.manual_seed(0)
    dropped = LockedDropout(0.4)(torch.ones(50, 7, 40))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.04)
    assert not torch.equal(dropped[0, 0], dropped[1, 0])


def test_dropout_drops_words_inputs_and_states_with_one_mask_each() -> None:
    seen: dict[str, list[torch.Tensor]] = {"from_input": [], "from_state": [], "node": []}
    supernet = tiny(dropout_words=0.5, dropout_cell_inputs=0.5, dropout_states=0.5, hidden=64)
    cell = supernet.module.cell
    for name, linear in (
        ("from_input", cell.from_input),
        ("from_state", cell.from_state),
        ("node", cell.nodes[4].linear),
    ):
        linear.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0].detach()))
    torch.manual_seed(0)
    inputs = torch.tensor([[3, 5, 3, 7, 3], [5, 7, 3, 3, 9]])
    supernet.train()(inputs, supernet.space.parse(DARTS_V2))
    (x,) = seen["from_input"]
    is_dropped_word = {int(word): bool((x[inputs == word] == 0).all()) for word in inputs.unique()}
    assert set(is_dropped_word.values()) == {True, False}
    kept = torch.tensor([[not is_dropped_word[int(word)] for word in stream] for stream in inputs])
    for stream in range(2):
        masks = (x[stream] != 0)[kept[stream]]
        assert bool((masks == masks[0]).all())
        # With the first word dropped, the states before the second one are zeros.
        states = torch.stack([state[stream] != 0 for state in seen["from_state"] + seen["node"]])
        states = states[states.any(dim=1)]
        assert len(states) >= 6
        assert bool((states == states[0]).all())
        assert 0.2 < float(states[0].float().mean()) < 0.8


def test_the_state_is_carried_and_detached_between_chunks() -> None:
    supernet = tiny()
    model = supernet.extract(supernet.space.parse(DARTS_V2), inherit=False)
    text = words(3, 12)
    whole = model(text)
    parts = []
    for chunk in text.split(5, dim=1):
        parts.append(model(chunk))
        model.state.advance()
        assert not model.state.first.requires_grad
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)
    model.state.forget()
    assert torch.allclose(model(text), whole, atol=1e-6)
    # Without `advance`, every pass begins with the same state.
    assert torch.allclose(model(text), whole, atol=1e-6)
    model.state.advance()
    with pytest.raises(ShapeError, match="as many streams as the one before, 3, but it has 2"):
        model(text[:2])


def test_evaluation_carries_the_state_whatever_the_length_of_chunks() -> None:
    supernet = tiny()
    model = supernet.extract(supernet.space.parse(DARTS_V1), inherit=False)
    for parameter in model.parameters():
        parameter.data.mul_(20)
    short, long = (random_task(500, WORDS, length=length, num_streams=4) for length in (7, 60))
    model.state.first = before = torch.ones(9, HIDDEN)
    first, second = (evaluate(model, task, "validation") for task in (short, long))
    assert model.state.first is before
    assert first.num == second.num == 4 * 61
    assert first.metric == pytest.approx(second.metric, rel=1e-5)
    assert first.metric == pytest.approx(math.exp(first.loss), rel=1e-5)
    model.state.forget()
    total = torch.zeros(2)
    for batch in short.batches("validation", 1):
        part = short.tally(model(batch.inputs), batch.targets)
        total = total + part
    assert abs(short.metric(total) / first.metric - 1) > 1e-4


class Memory:
    def __init__(self, stop_after: int | None = None) -> None:
        self.state, self.stop_after, self.num = None, stop_after, 0

    def due(self) -> bool:
        self.num += 1
        if self.num - 1 == self.stop_after:
            raise RuntimeError("killed")
        return True

    def save(self, state) -> None:
        import copy

        self.state = copy.deepcopy(state)

    def load(self):
        return self.state


def test_a_training_that_is_killed_inside_an_epoch_ends_with_the_same_weights() -> None:
    recipe = Recipe(2, 4, 1.0, momentum=0.0, clip_norm=0.25, label_smoothing=0.0)
    task = random_task(500, WORDS, length=12)
    updates = 2 * task.updates_per_epoch(4)

    def supernet():
        return tiny(num_nodes=3, dropout_states=0.3, dropout_outputs=0.3, dropout_words=0.2, seed=5)

    def train(net, checkpoint=None):
        return train_supernet(
            net, task, sampler=UniformSampler(net.space), recipe=recipe, seed=1, checkpoint=checkpoint
        )

    whole, again = supernet(), supernet()
    curve = train(whole)
    assert curve[-1].update == updates
    memory = Memory(stop_after=updates // 2 + 3)
    with pytest.raises(RuntimeError, match="killed"):
        train(supernet(), memory)
    memory.stop_after = None
    assert memory.state["carried"][0].shape == (4, HIDDEN)
    train(again, memory)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert all(state.first is None for state in again.modules() if isinstance(state, CarriedState))


def test_a_cell_learns_a_cycle() -> None:
    task = cycle_task(2000, 5, length=10)
    supernet = spaces.build("darts-rnn", 5, hidden=16, num_nodes=1, **NO_DROPOUT)
    model = supernet.extract(supernet.space.parse("0,0"), inherit=False)
    recipe = Recipe(10, 10, 20.0, momentum=0.0, clip_norm=0.25, label_smoothing=0.0)
    assert evaluate(model, task, "test").metric == pytest.approx(5, rel=0.05)
    train_model(model, task, recipe=recipe)
    assert evaluate(model, task, "test").metric < 1.5


def test_images_are_refused_in_one_line() -> None:
    supernet = tiny()
    with pytest.raises(ShapeError, match=r"whole numbers \(B, T\).*float32"):
        supernet(torch.zeros(2, 1, 8, 8), supernet.space.parse(DARTS_V2))
    with pytest.raises(
        ConfigurationError, match="argument hidden of space darts-rnn must be a whole number from 1"
    ):
        tiny(hidden=0)
    with pytest.raises(ConfigurationError, match=r"dropout_words .* from 0 to 1, without 1"):
        tiny(dropout_words=1.0)
