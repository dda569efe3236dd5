"""Recurrent cells on the Penn Treebank: one that a search found, an LSTM and random cells, with equal parameters.

A supernet of DARTS's recurrent space is trained and searched: by single paths and random search (`--search spos`), or
by DARTS's differentiable search, first order (`--search darts`), or by ENAS's controller (`--search enas`, which learns
after each epoch of the supernet). Then the cell found, an LSTM, and random cells are
trained from scratch with one budget, optimizer and dropout, and compared in perplexity, lower is better. The cells of
the space all have the same parameters; the LSTM's width is the one whose parameters are nearest. The test text is read
once for each network, when all are trained.

The budget is a small one: 200 features for 10 epochs by default, with less dropout and a decaying rate in place of
averaging; the paper has 850 features and trains to convergence. Differences of a few points are noise; give several
seeds.

Run: `python benchmarks/ptb_cells.py FOLDER [--out runs/ptb-cells] [--search spos|darts|enas] [--seeds 1]`. FOLDER holds
ptb.train.txt, ptb.valid.txt and ptb.test.txt, or their .gz. If it is killed and run again, it continues; other options
with the same --out are refused. One core: about 5 minutes for each epoch of a network, three networks for a seed; 4
minutes for each epoch of the supernet by single paths.

These options take about 12 minutes of one core, with half of the training text, read once, and 642 updates for
everything that is trained: `--hidden 64 --search-hidden 64 --batch-size 20 --train-words 450000 --search-epochs 1
--epochs 1 --candidates 50 --calibration-chunks 40 --validation-chunks 100`. An update of the differentiable search runs
every edge and activation, twice, and takes ten times as long as one of a single path; `--search-words` gives that
search less text than the networks have.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onepath import spaces
from onepath.data import TextTask, load_data
from onepath.estimate import Estimate, SupernetEstimator
from onepath.methods import Enas, MemoryJob, search_supernet
from onepath.nn import Supernet
from onepath.nn.relaxations import SoftmaxRelaxation, derive
from onepath.randomness import generator
from onepath.record import TrainingCheckpoint, atomic_write_bytes, load_tensors, save_tensors
from onepath.search import RandomSearch
from onepath.space import Architecture
from onepath.spaces.language_model import INITIAL_RANGE, LanguageModel, locked_mask
from onepath.train import (
    ArchitectureRecipe,
    ArchitectureTraining,
    Recipe,
    TrainingPoint,
    UniformSampler,
    evaluate,
    train_differentiable,
    train_model,
    train_supernet,
)

DROPOUTS = {"words": 0.05, "inputs": 0.2, "cell_inputs": 0.2, "states": 0.1, "outputs": 0.4}


class LstmCell(nn.Module):
    """An LSTM with DARTS's dropouts: one mask per chunk for the inputs and one for the states.

    Args:
        hidden: number of features of the inputs and of the outputs; the state holds outputs and memory, 2 * hidden.
        dropout_inputs: dropout rate of the inputs.
        dropout_states: dropout rate of the outputs that are fed back.
    """

    def __init__(self, hidden: int, dropout_inputs: float, dropout_states: float) -> None:
        super().__init__()
        self.state_features = 2 * hidden
        self.dropout_inputs, self.dropout_states = dropout_inputs, dropout_states
        self.from_input = nn.Linear(hidden, 4 * hidden)
        self.from_state = nn.Linear(hidden, 4 * hidden, bias=False)
        for weight in self.parameters():
            nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run over the words of a chunk.

        Args:
            x: embedded words, (B, T, hidden).
            state: outputs and memory of the last word, (B, 2 * hidden).

        Returns:
            Outputs (B, T, hidden) and the new state.
        """
        output, memory = state.chunk(2, dim=-1)
        mask = locked_mask(output, self.dropout_states) if self.training else torch.ones_like(output)
        if self.training:
            x = x * locked_mask(x[:, :1], self.dropout_inputs)
        outputs = []
        for word in self.from_input(x).unbind(dim=1):
            enter, forget, leave, new = (word + self.from_state(output * mask)).chunk(4, dim=-1)
            memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
            output = leave.sigmoid() * memory.tanh()
            outputs.append(output)
        return torch.stack(outputs, dim=1), torch.cat((output, memory), dim=-1)


def num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def lstm(num_words: int, params: int, seed: int) -> nn.Module:
    """Return a language model with an LSTM, as wide as makes its number of parameters nearest to `params`."""
    # num_words (hidden + 1) + 8 hidden^2 + 4 hidden = params
    linear = num_words + 4
    hidden = round((-linear + math.sqrt(linear**2 + 32 * (params - num_words))) / 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cell = LstmCell(hidden, DROPOUTS["cell_inputs"], DROPOUTS["states"])
        return LanguageModel(
            cell,
            num_words,
            hidden,
            dropout_words=DROPOUTS["words"],
            dropout_inputs=DROPOUTS["inputs"],
            dropout_outputs=DROPOUTS["outputs"],
        )


class Notes:
    """Everything that is known so far, kept in one JSON file that is always replaced as a whole."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.is_file() else {"settings": settings, "data": {}}
        if stored["settings"] != settings:
            raise SystemExit(
                f"{path.parent} holds another setting: {stored['settings']}; give another --out, or delete it"
            )
        self.data: dict[str, Any] = stored["data"]
        self.settings = settings

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the value stored under a key; if there is none, make it and store it."""
        if key not in self.data:
            self.data[key] = make()
            text = json.dumps({"settings": self.settings, "data": self.data}, indent=1)
            atomic_write_bytes(self.path, text.encode())
        return self.data[key]


class NotedEstimator:
    """An estimator whose estimates are stored for later processes; `name` tells supernets apart."""

    def __init__(self, estimator: SupernetEstimator, notes: Notes, name: str) -> None:
        self._estimator, self._notes, self._name = estimator, notes, name

    def estimate(self, architecture: Architecture) -> Estimate:
        """Return the stored estimate, or make and store a new one."""
        key = f"{self._name} {architecture}"
        fields = self._notes.get(key, lambda: dataclasses.asdict(self._estimator.estimate(architecture)))
        return Estimate(**fields)


class Benchmark:
    """The stages of the benchmark; each of them continues where it stopped."""

    def __init__(self, task: TextTask, options: argparse.Namespace) -> None:
        self.task, self.options = task, options
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        if options.train_words is not None:
            self.task = task.shortened(options.train_words)
        self.search_task = self.task
        if options.search_words is not None:
            self.search_task = task.shortened(options.search_words)
        names = [name for name in vars(options) if name not in ("data", "out", "seeds", "train_on")]
        settings = {**{name: getattr(options, name) for name in names}, "data": task.fingerprint}
        self.notes = Notes(self.out / "notes.json", settings)

    def build(self, hidden: int) -> Supernet:
        """Return a supernet of the space, with the dropout rates of the small budget."""
        rates = {f"dropout_{name}": rate for name, rate in DROPOUTS.items()}
        return spaces.build("darts-rnn", self.task.num_classes, hidden=hidden, **rates)

    def recipe(self, epochs: int) -> Recipe:
        """Return the recipe of the supernet and of every network."""
        recipe = Recipe.for_task(self.task, epochs=epochs)
        return dataclasses.replace(recipe, batch_size=self.options.batch_size, one_path=0.0)

    def watch(self, name: str) -> dict[str, Any]:
        """Return the arguments that make a training resumable and print its progress."""

        def on_point(point: TrainingPoint) -> None:
            print(
                f"{name}: epoch {point.epoch:.2f}, training perplexity {point.metric:.1f}, "
                f"{point.seconds / 60:.1f} minutes",
                flush=True,
            )

        path = self.out / f"{name}.checkpoint"
        return {"checkpoint": TrainingCheckpoint(path), "on_point": on_point, "device": self.options.train_on}

    def found(self, seed: int) -> str:
        """Return the genotype that the search finds."""
        return str(
            self.notes.get(
                f"found {seed}",
                lambda: {"darts": self.by_darts, "enas": self.by_enas, "spos": self.by_spos}[
                    self.options.search
                ](seed),
            )
        )

    def by_spos(self, seed: int) -> str:
        """Train single paths, search the shared weights at random, and return the best genotype."""
        supernet = self.build(self.options.search_hidden)
        train_supernet(
            supernet,
            self.search_task,
            sampler=UniformSampler(supernet.space),
            recipe=self.recipe(self.options.search_epochs),
            seed=seed,
            **self.watch(f"supernet-{seed}"),
        )
        estimator = SupernetEstimator(
            supernet,
            self.search_task,
            calibration_images=self.options.calibration_chunks,
            validation_images=self.options.validation_chunks,
            device=self.options.train_on,
            seed=seed,
        )
        algorithm = RandomSearch(supernet.space, seed=seed, num=self.options.candidates)
        noted = NotedEstimator(estimator, self.notes, f"trial {seed}")
        result = search_supernet(supernet, self.search_task, algorithm, estimator=noted)
        print(
            f"best of {len(result.trials)}: inherited perplexity {1 / result.best_trial.estimate.accuracy:.1f}"
        )
        return supernet.space.format(result.best)

    def by_darts(self, seed: int) -> str:
        """Run the differentiable search, whose logits learn from the validation text, and return the genotype."""
        supernet = self.build(self.options.search_hidden)
        relaxation = SoftmaxRelaxation(supernet, seed=seed)
        recipe = ArchitectureRecipe(learning_rate=3e-3, weight_decay=1e-3, clip_norm=0.25)
        architecture = ArchitectureTraining(supernet, relaxation, recipe, seed=seed)
        train_differentiable(
            supernet,
            self.search_task,
            architecture,
            recipe=self.recipe(self.options.search_epochs),
            seed=seed,
            **self.watch(f"relaxed-{seed}"),
        )
        return supernet.space.format(derive(relaxation))

    def by_enas(self, seed: int) -> str:
        """Train shared weights and a controller in turn, and return the best genotype that the controller draws."""
        supernet = self.build(self.options.search_hidden)
        recipe = self.recipe(self.options.search_epochs)
        job = MemoryJob(
            supernet,
            self.search_task,
            seed=seed,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            calibration_images=self.options.calibration_chunks,
            validation_images=self.options.validation_chunks,
            **self.watch(f"enas-{seed}"),
        )
        result = Enas(epochs=self.options.search_epochs, num=self.options.candidates).run(job)
        print(
            f"best of {len(result.trials)}: inherited perplexity {1 / result.best_trial.estimate.accuracy:.1f}"
        )
        return supernet.space.format(result.best)

    def network(self, role: str, seed: int) -> tuple[nn.Module, str | None]:
        """Return a network with fresh weights, and its genotype; None for the LSTM's."""
        supernet = self.build(self.options.hidden)
        space = supernet.space
        if role == "found":
            architecture = space.parse(self.found(seed))
        else:
            architecture = space.random(generator(seed, "random cell"))
        model = supernet.extract(architecture, inherit=False, seed=seed)
        if role == "lstm":
            return lstm(self.task.num_classes, num_params(model), seed), None
        return model, space.format(architecture)

    def train(self, role: str, seed: int) -> dict[str, Any]:
        """Train a network, save its weights, and return its parameters, genotype and validation perplexity."""
        model, genotype = self.network(role, seed)
        name = f"{role}-{seed}"
        train_model(model, self.task, recipe=self.recipe(self.options.epochs), seed=seed, **self.watch(name))
        save_tensors(self.out / f"{name}.safetensors", model.state_dict())
        found = evaluate(model, self.task, "validation", device=self.options.train_on)
        return {"params": num_params(model), "genotype": genotype, "validation": found.metric}

    def test(self, role: str, seed: int) -> float:
        """Return the test perplexity of the saved weights."""
        model, _ = self.network(role, seed)
        model.load_state_dict(load_tensors(self.out / f"{role}-{seed}.safetensors"))
        return evaluate(model, self.task, "test", device=self.options.train_on).metric

    def run(self) -> None:
        """Run all stages and print the table."""
        networks = [
            (role, seed) for seed in range(self.options.seeds) for role in ("found", "lstm", "random")
        ]
        trained = {
            network: self.notes.get(
                "train {} {}".format(*network), lambda network=network: self.train(*network)
            )
            for network in networks
        }
        print(f"\n{'network':12}{'params':>12}{'validation':>12}{'test':>10}  genotype")
        for network in networks:
            row = trained[network]
            test = self.notes.get("test {} {}".format(*network), lambda network=network: self.test(*network))
            name = "{}-{}".format(*network)
            print(
                f"{name:12}{row['params']:12,}{row['validation']:12.2f}{test:10.2f}  {row['genotype'] or ''}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder with the text files")
    parser.add_argument("--out", default="runs/ptb-cells")
    parser.add_argument("--search", choices=("spos", "darts", "enas"), default="spos")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--hidden", type=int, default=200, help="number of features of the networks that are compared"
    )
    parser.add_argument("--search-hidden", type=int, default=100, help="number of features of the supernet")
    parser.add_argument("--search-epochs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--train-words", type=int, help="number of words of the training text to use; default: all"
    )
    parser.add_argument(
        "--search-words", type=int, help="number of words that train the supernet; default: as --train-words"
    )
    parser.add_argument(
        "--candidates", type=int, default=200, help="number of cells that random search evaluates"
    )
    parser.add_argument("--calibration-chunks", type=int, default=100)
    parser.add_argument("--validation-chunks", type=int, default=300)
    parser.add_argument("--train-on", default="cpu")
    options = parser.parse_args()
    task = load_data(options.data)
    if not isinstance(task, TextTask):
        raise SystemExit(f"{options.data} must be a folder of text")
    try:
        Benchmark(task, options).run()
    except KeyboardInterrupt:
        raise SystemExit("stopped: the same command continues") from None


if __name__ == "__main__":
    main()
