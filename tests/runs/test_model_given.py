"""The door for those who have a model: from a trained network to a smaller one, in a run."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rewinding import without_digests
from safetensors.torch import load_file, save_file

import onepath as op
from onepath import runs
from onepath.cli import main
from onepath.conversion.models import load_model
from onepath.errors import ConfigurationError, RunDirectoryError, UserError
from onepath.methods.finishing import finishing_recipe, network_seed
from onepath.runs.limit_folders import ask_again
from onepath.runs.making import make_config
from onepath.space.ends import end_of
from onepath.train import Distillation

SOURCE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.last = nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, num_classes)
    def forward(self, x):
        return self.head(self.last(self.norm(self.conv(x)).relu()).relu().mean((2, 3)))
def build(num_classes):
    return Net(num_classes)
"""
QUICK: dict[str, Any] = {
    "method": "sandwich",
    "epochs": 1,
    "population": 4,
    "generations": 1,
    "num_baselines": 1,
    "workers": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    (path / "net.py").write_text(SOURCE)
    torch.manual_seed(0)
    save_file(load_model(f"{path}/net.py:build", num_classes=10).state_dict(), path / "w.safetensors")
    return path


@pytest.fixture(scope="module")
def finished(folder: Path) -> op.runs.result.Result:
    return op.run(
        model=f"{folder}/net.py:build",
        weights=folder / "w.safetensors",
        max_macs="60%,40%",
        out=folder / "run",
        **QUICK,
    )


def test_limits_in_percent_are_of_the_model(finished: Any, folder: Path) -> None:
    model = load_model(f"{folder}/net.py:build", num_classes=10)
    whole = op.cost.module_cost(model, (1, 8, 8)).macs
    teacher = finished.result["teacher"]
    assert teacher["costs"]["macs"] == {"value": whole, "unit": "macs"}
    limits = [winner["limits"]["max_macs"] for winner in finished.result["winners"]]
    assert limits == [int(0.6 * whole), int(0.4 * whole)]
    for winner in finished.result["winners"]:
        assert winner["cost"]["macs"] <= winner["limits"]["max_macs"]
    assert finished.result["finish"] == "as-is"


def test_the_model_that_came_in_is_scored_as_it_is(finished: Any, folder: Path) -> None:
    """On all test examples, with its own weights and statistics."""
    model = load_model(f"{folder}/net.py:build", folder / "w.safetensors", num_classes=10).eval()
    data = op.load_data("digits")
    right = num = 0
    with torch.no_grad():
        for batch in data.batches("test", 100):
            right += int((model(batch.inputs).argmax(1) == batch.targets).sum())
            num += len(batch.targets)
    teacher = finished.result["teacher"]
    assert teacher["test"] == pytest.approx(right / num, abs=1 / num)
    assert teacher["name"] == "net.py:build"
    assert 0 <= teacher["agreement"] <= 1
    assert teacher["latency_ms"] > 0
    assert any("The model that came in has" in sentence for sentence in finished.result["verdict"])
    assert "The model that came in has" in (finished.path / "report.html").read_text()


def test_the_winner_inherits_the_weights_of_the_supernet(finished: Any) -> None:
    supernet = finished.supernet()
    architecture = supernet.space.parse(str(finished.architecture))
    inherited, model = supernet.extract(architecture).state_dict(), finished.model().state_dict()
    names = [name for name in inherited if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(inherited[name], model[name]) for name in names)


def test_the_first_weights_are_those_of_the_file_in_another_order(finished: Any, folder: Path) -> None:
    initial = load_file(finished.path / "checkpoints" / "initial.safetensors")
    given = load_file(folder / "w.safetensors")
    found = {key.removeprefix("module."): value for key, value in initial.items()}
    assert set(found) >= set(given)
    for name, value in given.items():
        assert torch.equal(found[name].flatten().sort().values, value.flatten().sort().values), name


def test_it_continues_by_itself_and_refuses_other_options(finished: Any, folder: Path) -> None:
    before = (finished.path / "result.json").read_text()
    name = f"{folder}/net.py:build"
    for given in ({"model": name}, {"space": name}, {"model": name, "max_macs": "60%,40%"}):
        op.run(out=finished.path, **given)
        assert (finished.path / "result.json").read_text() == before
    with pytest.raises(RunDirectoryError, match=r"max_macs: 60,40 % -> 50 %"):
        op.run(out=finished.path, model=name, max_macs="50%")
    with pytest.raises(ConfigurationError, match="own code must be named"):
        op.run(out=finished.path)


def test_what_was_interrupted_ends_with_the_same_network(finished: Any, folder: Path, tmp_path: Path) -> None:
    """The networks are finished again, from the weights on the disk and a conversion without data."""
    out = tmp_path / "run"
    shutil.copytree(finished.path, out)
    for name in ("result.json", "model.safetensors"):
        (out / name).unlink()
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("DELETE FROM stages WHERE stage IN ('retrain', 'export', 'report')")
    connection.execute("DELETE FROM networks")
    connection.commit()
    connection.close()
    without_digests(out)
    again = op.run(out=out, model=f"{folder}/net.py:build")
    before, after = (load_file(path / "model.safetensors") for path in (finished.path, out))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert again.result["accuracy"] == finished.result["accuracy"]
    assert again.result["teacher"]["test"] == finished.result["teacher"]["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_macs": "120%"}, "max_macs must be percentages above 0 and at most 100"),
        ({"max_macs": "0%"}, "max_macs must be percentages above 0 and at most 100"),
        ({"max_macs": "60%,x"}, "max_macs must be percentages above 0 and at most 100"),
        ({"max_params": "1e3%"}, "max_params must be percentages above 0"),
        ({"model": None, "max_macs": "60%"}, "is of the model that came in, but none came"),
        ({"model": None, "weights": "w.pt"}, "weights are those of a model, but none came"),
        ({"space": "darts"}, "model takes the place of a space, but both came"),
        ({"max_latency_ms": "50%"}, "max_latency_ms is a limit on a device, but none came"),
        ({"max_macs": 10}, "max_macs must be at least the smallest cost of the space"),
        ({"weights": "absent.safetensors"}, "weights must be a file"),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_trained(
    folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = {"model": f"{folder}/net.py:build", **options}
    with pytest.raises(UserError, match=message) as caught:
        op.run(out=tmp_path / "run", **{name: value for name, value in given.items() if value is not None})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_weights_that_are_not_finite_end_in_one_line_before_anything_is_trained(
    folder: Path, tmp_path: Path, value: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = load_file(folder / "w.safetensors")
    given["last.bias"][0] = value
    save_file(given, tmp_path / "w.safetensors")
    words = ["--model", f"{folder}/net.py:build", "--weights", str(tmp_path / "w.safetensors")]
    assert main(["run", *words, "--max-macs", "60%", "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert err == (
        f"error: weights must be finite, but 'last.bias' holds {said} in {tmp_path}/w.safetensors; give weights from "
        "before they went wrong\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_space_given_in_python_has_finite_weights(tmp_path: Path) -> None:
    supernet = op.spaces.build("nasbench-macro", 10, in_channels=1)
    with torch.no_grad():
        next(supernet.parameters()).fill_(torch.nan)
    with pytest.raises(ConfigurationError, match=r"must be finite, but '.*' holds NaN"):
        op.run(space=supernet, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configuration_keeps_the_model_as_its_space(folder: Path) -> None:
    config = make_config({"model": f"{folder}/net.py:build", "max_params": "50%"})
    assert config.space == config.model == f"{folder}/net.py:build"
    assert (config.method, config.finish) == ("sandwich", "as-is")
    assert config.percentages == {"max_params": (50.0,)}
    assert config.limits == {}
    assert "max_params" not in config.given
    found = config.with_limits({"max_params": (7,)})
    assert (found.limits, found.percentages) == ({"max_params": (7,)}, {})
    assert config.directory() == Path("runs/digits-build-sandwich")
    assert json.loads(json.dumps(config.as_dict()))["model"] == config.model


def test_a_finished_run_is_asked_again_in_percent(finished: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished.path, out)
    name, whole = f"{folder}/net.py:build", finished.result["teacher"]["costs"]["macs"]["value"]
    runs.search(out, limits={"max_macs": "50%"}, space=name)
    limits = [winner["limits"]["max_macs"] for winner in op.load_run(out).result["winners"]]
    assert limits[2:] == [int(0.5 * whole)]
    with pytest.raises(ConfigurationError, match="at most 100"):
        runs.search(out, limits={"max_macs": "101%"}, space=name)


def test_a_converted_supernet_is_a_space_too(folder: Path, tmp_path: Path) -> None:
    model = load_model(f"{folder}/net.py:build", folder / "w.safetensors", num_classes=10).eval()
    supernet = op.convert(model, torch.zeros(1, 1, 8, 8))
    result = op.run("digits", space=supernet, max_macs=200_000, out=tmp_path / "run", **QUICK)
    assert result.result["cost"]["macs"] <= 200_000
    assert result.result["teacher"]["name"] == "python:Net"
    found = result.model()  # the space need not be given again
    assert type(found) is type(model)
    assert sum(parameter.numel() for parameter in found.parameters()) == result.result["cost"]["params"]
    with pytest.raises(ConfigurationError, match="a space given in Python must be given again"):
        op.load_run(tmp_path / "run").model()


def test_options_of_the_conversion_are_arguments_of_the_space(folder: Path, tmp_path: Path) -> None:
    result = op.run(
        model=f"{folder}/net.py:build",
        weights=folder / "w.safetensors",
        space_arguments={"widths": [0.25, 0.5, 1], "resolutions": [4, 6, 8]},
        max_macs="30%",
        out=tmp_path / "run",
        **{**QUICK, "method": "ofa"},
    )
    choices = {choice.name: choice.options for choice in result.supernet().space.choices}
    assert choices == {"resolution": (4, 6, 8), "conv.width": (8, 16, 32), "last.width": (8, 16, 32)}
    layers = [layer["path"] for layer in result.result["teacher"]["layers"]]
    assert layers == ["conv", "last", "head"], "as in the model, whatever its images go through first"
    winner = result.result["winners"][0]
    counted = op.cost.module_cost(result.model(), (1, 8, 8)).macs
    assert winner["cost"]["macs"] == counted <= winner["limits"]["max_macs"]


def test_another_argument_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"beside --model must be one of widths, depth, .* 'sizes'"):
        op.run(model=f"{folder}/net.py:build", space_arguments={"sizes": [1]}, out=tmp_path / "run")


def test_percentages_must_be_as_many_of_each_kind(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"as many of each kind, but got max_macs .*; max_params"):
        make_config({"model": f"{folder}/net.py:build", "max_macs": "60%,40%", "max_params": "60%,50%,30%"})


def test_a_width_is_of_a_space(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="width is a factor on the channels of a space"):
        make_config({"model": f"{folder}/net.py:build", "width": 0.5})


def test_its_own_limit_among_others_is_not_searched_again(finished: Any, folder: Path) -> None:
    out = folder / "again"
    shutil.copytree(folder / "run", out)
    own = finished.result["winners"][0]["limits"]["max_macs"]
    runs.search(out, limits={"max_macs": f"{own},{own - 1}"}, space=f"{folder}/net.py:build")
    found = json.loads((out / "result.json").read_text())["winners"]
    assert [winner["limits"]["max_macs"] for winner in found][-1] == own - 1
    with pytest.raises(ConfigurationError, match="these are its own"):
        runs.search(out, limits={"max_macs": own}, space=f"{folder}/net.py:build")


def test_code_that_is_not_named_again_is_asked_for_as_a_model(finished: Any, folder: Path) -> None:
    with pytest.raises(UserError, match=r"names the model; .* add --model "):
        runs.search(folder / "run", limits={"max_macs": "50%"})


def test_a_report_leaves_out_a_limit_whose_search_was_interrupted(finished: Any, folder: Path) -> None:
    out = folder / "interrupted"
    shutil.copytree(folder / "run", out)
    own = finished.result["winners"][0]["limits"]["max_macs"]
    with runs.Run(None, out, space=f"{folder}/net.py:build") as run:
        ask_again(run, {"max_macs": own - 1})
    runs.report(out)
    found = json.loads((out / "result.json").read_text())["winners"]
    assert [winner["limits"] for winner in found] == [w["limits"] for w in finished.result["winners"]]


def test_a_finished_network_learns_from_the_model_as_well(folder: Path) -> None:
    """Its weights are those of a training with `Distillation` and the original model, bit for bit."""
    run = op.run(
        model=f"{folder}/net.py:build",
        weights=folder / "w.safetensors",
        max_macs="50%",
        out=folder / "taught",
        finish="fine-tuned",
        retrain_epochs=4,
        finish_teacher="model",
        **{**QUICK, "num_baselines": 0},
    )
    task = op.load_data("digits")
    network = run.supernet().extract(run.architecture)
    teacher = load_model(f"{folder}/net.py:build", folder / "w.safetensors", num_classes=10)
    recipe = finishing_recipe(op.Recipe.for_task(task, retrain=True, epochs=4), "fine-tuned")
    assert recipe is not None
    objective = Distillation(recipe.label_smoothing, teacher=teacher)
    op.train_model(network, task, recipe=recipe, objective=objective, seed=network_seed(0, 0))
    taught = run.model().state_dict()
    for name, value in network.named_parameters():
        torch.testing.assert_close(taught[name], value, rtol=1e-4, atol=1e-5)
    alone = run.supernet().extract(run.architecture)
    op.train_model(alone, task, recipe=recipe, seed=network_seed(0, 0))
    assert not torch.allclose(alone.head.weight, network.head.weight, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "finish is as-is, which trains none"),
        (
            {"finish": "fine-tuned", "model": None, "weights": None, "method": "spos"},
            "means the model that was given",
        ),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    given = {"model": f"{folder}/net.py:build", "weights": folder / "w.safetensors", **QUICK, **options}
    with pytest.raises(ConfigurationError, match=message):
        op.run(**given, finish_teacher="model", out=folder / "refused")
    assert not list((folder / "refused").glob("checkpoints/*.safetensors"))


CURVED = """
from onepath.cost import module_cost
from onepath.latency import Device, Schedule
class Took:
    def __init__(self, ms):
        self.ms = ms
    def run(self):
        return self.ms
    def close(self):
        pass
class Curved(Device):
    name = "curved"
    schedule = Schedule(num_blocks=4, num_runs=1, num_warm_up=0)
    def prepare(self, model, input_shape):
        return Took(0.1 + module_cost(model, tuple(input_shape)).macs ** 0.5 / 100)
"""


def test_predictions_are_scaled_to_the_latency_that_the_percentages_are_of(folder: Path) -> None:
    """So a table that was made in a slow or fast minute, or whose parts do not add up, as here, keeps the shares."""
    (folder / "curved.py").write_text(CURVED)
    device = f"{folder}/curved.py:Curved"
    run = op.run(
        model=f"{folder}/net.py:build",
        weights=folder / "w.safetensors",
        max_latency_ms="85%",
        device=device,
        out=folder / "share",
        **{**QUICK, "num_baselines": 0},
    )
    with runs.Run(None, folder / "share", space=f"{folder}/net.py:build", device=device) as opened:
        model_ms = opened.facts["model_ms"]
        assert opened.config.limit_ms == pytest.approx(0.85 * model_ms)
        supernet = opened.blank
        largest = end_of(supernet.space, max)
        raw = opened.latencies.predictor.predict(supernet.space, supernet.space.matrix([largest]))[0]
        assert raw != pytest.approx(model_ms, rel=1e-3)
        assert opened.latencies.predicted([largest]) == [pytest.approx(model_ms)]
        legal = opened.legal(opened.limits)
        rows = legal.sample(20, np.random.default_rng(0))
        assert max(opened.latencies.predicted(supernet.space.architectures(rows))) <= opened.config.limit_ms
    assert run.result["cost"]["latency_ms"] <= opened.config.limit_ms
