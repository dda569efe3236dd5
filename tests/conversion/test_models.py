from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import onepath as op
from onepath.conversion import reachable
from onepath.conversion.models import input_size_of, load_model
from onepath.errors import ConfigurationError
from onepath.space.ends import end_of

SOURCE = """
from torch import nn
def build(num_classes=7, in_channels=1):
    return nn.Sequential(nn.Conv2d(in_channels, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, num_classes))
def anything(**sizes):
    return nn.Linear(sizes["num_classes"], sizes["input_size"])
def needs(depth):
    return nn.Linear(depth, 1)
def fails():
    raise KeyError("broken")
def number():
    return 3
value = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def test_a_function_gets_the_sizes_that_it_names(file: Path) -> None:
    model: Any = load_model(f"{file}:build", num_classes=5, in_channels=2, input_size=8)
    assert (model[0].in_channels, model[3].out_features) == (2, 5)
    model = load_model(f"{file}:build", num_classes=None, in_channels=None, input_size=None)
    assert (model[0].in_channels, model[3].out_features) == (1, 7)
    linear: Any = load_model(f"{file}:anything", num_classes=5, in_channels=None, input_size=8)
    assert (linear.in_features, linear.out_features) == (5, 8)


def test_building_leaves_the_generator_and_is_the_same_again(file: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two = (load_model(f"{file}:build").state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_libraries_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = load_model("torchvision:resnet18", num_classes=4)
    assert model.fc.out_features == 4
    assert input_size_of(model) == 224
    with pytest.raises(ConfigurationError, match="torchvision must have a model 'nonsense' of these sizes"):
        load_model("torchvision:nonsense")

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("onepath.conversion.models.importlib.import_module", absent)
    with pytest.raises(
        ConfigurationError, match="needs timm, which is not installed; run `pip install timm`"
    ):
        load_model("timm:resnet18")


def test_models_of_timm_take_channels_and_classes() -> None:
    pytest.importorskip("timm")
    model: Any = load_model("timm:test_vit", num_classes=4, in_channels=1)
    assert model.head.out_features == 4
    assert model.patch_embed.proj.in_channels == 1
    assert input_size_of(model) == 160


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_come_from_a_file(file: Path, suffix: str) -> None:
    model = load_model(f"{file}:build")
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    path = file.with_suffix(suffix)
    if suffix == ".pt":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        save_file(model.state_dict(), path)
    found = load_model(f"{file}:build", path)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


def written(path: Path, tensors: Any) -> Path:
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own, path: path / "absent.pt", "weights must be a file, but .* does not exist"),
        (lambda own, path: path / "net.py", "cannot be read as one"),
        (lambda own, path: written(path / "a.pt", [1, 2]), "holds something else; save model.state_dict()"),
        (
            lambda own, path: written(path / "a.pt", {**own, "9.weight": torch.ones(1)}),
            "'9.weight' is not of the model",
        ),
        (
            lambda own, path: written(path / "a.pt", {"0.bias": own["0.bias"]}),
            "'0.weight' is not in the file",
        ),
        (
            lambda own, path: written(path / "a.pt", {**own, "0.bias": torch.ones(3)}),
            r"'0.bias' has shape \(3,\) in .* and \(16,\) in the model",
        ),
    ],
)
def test_weights_that_do_not_fit_name_the_first_key(file: Path, make: Any, message: str) -> None:
    own = dict(load_model(f"{file}:build").state_dict())
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_model(f"{file}:build", make(own, file.parent))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("value", "said"), [(math.nan, "NaN"), (math.inf, "infinity"), (-math.inf, "infinity")]
)
def test_weights_that_are_not_finite_name_the_first_tensor(
    file: Path, suffix: str, value: float, said: str
) -> None:
    own = {name: tensor.clone() for name, tensor in load_model(f"{file}:build").state_dict().items()}
    own["0.bias"][3] = own["3.weight"][0, 0] = value
    path = file.with_suffix(suffix)
    save_file(own, path) if suffix == ".safetensors" else torch.save(own, path)
    with pytest.raises(
        ConfigurationError, match=f"weights must be finite, but '0.bias' holds {said} in "
    ) as caught:
        load_model(f"{file}:build", path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


MASKED = """
import torch
from torch import nn
class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
def build():
    return Masked()
"""


def test_a_mask_of_the_model_may_be_infinite(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(MASKED)
    own = dict(load_model(f"{path}:build").state_dict())
    load_model(f"{path}:build", written(tmp_path / "a.pt", own))
    half = {name: tensor.half() for name, tensor in own.items()}
    load_model(f"{path}:build", written(tmp_path / "a.pt", half))
    other = {**own, "mask": torch.tensor([-math.inf, 0.0])}
    with pytest.raises(ConfigurationError, match="'mask' holds infinity"):
        load_model(f"{path}:build", written(tmp_path / "a.pt", other))


def test_a_model_whose_weights_are_not_finite_is_not_converted(file: Path) -> None:
    model = load_model(f"{file}:build")
    with torch.no_grad():
        model.get_parameter("3.bias")[0] = math.nan
    with pytest.raises(ConfigurationError, match=r"must be finite, but '3\.bias' holds NaN"):
        op.convert(model, torch.zeros(1, 1, 8, 8))


class Evil:
    def __reduce__(self) -> Any:
        return (subprocess.check_call, (["touch", "/tmp/onepath-was-run"],))


def test_weights_run_no_code(file: Path) -> None:
    torch.save({"0.weight": Evil()}, file.with_suffix(".pt"))
    with pytest.raises(ConfigurationError, match="cannot be read as one"):
        load_model(f"{file}:build", file.with_suffix(".pt"))
    assert not Path("/tmp/onepath-was-run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet18",
            "a model must be one of timm:NAME, torchvision:NAME, or path/to/file.py:function, but got",
        ),
        ("{file}:absent", "must define the function of the model, but it has no callable 'absent'"),
        ("{file}:value", "must define the function of the model, but it has no callable 'value'"),
        ("{file}:needs", "must need nothing but num_classes, in_channels and input_size"),
        ("{file}:fails", "KeyError"),
        ("{file}:number", "a model must be a torch.nn.Module, but .* returned int"),
        ("absent.py:build", "the file of a model must exist"),
    ],
)
def test_models_that_cannot_be_built(file: Path, name: str, message: str) -> None:
    with pytest.raises(op.errors.UserError, match=message) as caught:
        load_model(name.format(file=file), num_classes=3)
    assert "\n" not in str(caught.value)


def test_the_ends_of_what_can_be_reached(file: Path) -> None:
    model = load_model(f"{file}:build")
    supernet = op.convert(model.eval(), torch.randn(1, 1, 8, 8))
    assert end_of(supernet.space, min).options == {"0.width": 8}
    reached = reachable(supernet, (1, 8, 8))
    assert reached["macs"] == (8 * 9 * 36 + 8 * 36 * 7, 16 * 9 * 36 + 16 * 36 * 7)
    assert reached["params"][1] == sum(parameter.numel() for parameter in model.parameters())
    assert list(reached) == list(op.cost.COSTS)
