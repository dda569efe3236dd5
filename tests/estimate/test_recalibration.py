from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from onepath.data import load_data
from onepath.estimate import recalibrate_batchnorm, recalibrate_on_task


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.1),
        nn.Dropout(0.5),
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.Flatten(),
        nn.BatchNorm1d(5 * 36, momentum=None),
        nn.Linear(5 * 36, 2),
    )


def images(num: int) -> torch.Tensor:
    """Each image has its own brightness, so that batches differ from one another."""
    generator = torch.Generator().manual_seed(1)
    brightness = torch.randn(num, 3, 1, 1, generator=generator)
    return 2.0 + brightness + 0.5 * torch.randn(num, 3, 8, 8, generator=generator)


@pytest.mark.parametrize("sizes", [[50] * 4, [64, 64, 64, 8], [199, 1], [200]])
def test_the_first_layer_has_the_moments_of_all_the_data(sizes: list[int]) -> None:
    model, x = network()[:1], images(200)
    recalibrate_batchnorm(model, x.split(sizes))
    flat = x.transpose(0, 1).flatten(1).double()
    assert torch.allclose(model[0].running_mean.double(), flat.mean(1), rtol=0, atol=1e-5)
    assert torch.allclose(model[0].running_var.double(), flat.var(1, unbiased=True), rtol=0, atol=1e-5)


def test_an_exponential_average_fails_the_same_comparison() -> None:
    """Momentum 0.1 over four batches still holds two thirds of the initial value."""
    model, x = network(), images(200)
    model.train()
    with torch.no_grad():
        for batch in x.split(50):
            model(batch)
    assert (model[0].running_mean - x.mean((0, 2, 3))).abs().max() > 0.5


def test_deeper_layers_see_normalised_inputs_without_dropout() -> None:
    """One batch: the second layer's moments are those of the convolution of the batch normalised by itself."""
    model, x = network(), images(64)
    recalibrate_batchnorm(model, [x])
    with torch.no_grad():
        normalised = nn.functional.batch_norm(x, None, None, model[0].weight, model[0].bias, training=True)
        hidden = model[2](normalised).transpose(0, 1).flatten(1)
    assert torch.allclose(model[3].running_mean, hidden.mean(1), atol=1e-5)
    assert torch.allclose(model[3].running_var, hidden.var(1), atol=1e-5)


def test_everything_else_is_left_as_it_was() -> None:
    model = network()
    model[3].eval()
    before = copy.deepcopy(model)
    recalibrate_batchnorm(model, images(32).split(16))
    for (name, value), old in zip(model.state_dict().items(), before.state_dict().values(), strict=True):
        is_statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert is_statistic or torch.equal(value, old), name
    assert [m.training for m in model] == [m.training for m in before]
    assert [model[i].momentum for i in (0, 3, 5)] == [0.1, 0.1, None]
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_no_data_and_layers_that_are_not_reached_keep_their_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model[1].running_mean.fill_(7.0)
    recalibrate_batchnorm(model, [])
    assert model[0].running_var.tolist() == [1.0] * 3
    recalibrate_batchnorm(model, [images(8)], forward=model[0])
    assert model[1].running_mean.tolist() == [7.0] * 3
    assert model[0].running_mean.abs().min() > 0


def test_layers_without_running_statistics_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    recalibrate_batchnorm(model, [images(8)])
    assert model[0].running_mean is None


def test_an_error_restores_modes_and_momenta() -> None:
    model = network()
    with pytest.raises(RuntimeError):
        recalibrate_batchnorm(model, [torch.zeros(2, 4, 8, 8)])
    assert model[0].momentum == 0.1
    assert all(m.training for m in model.modules())


def test_a_task_is_read_without_augmentation() -> None:
    task = load_data("digits")
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
    recalibrate_on_task(model, task, 10**6)
    images = torch.cat([inputs for inputs, _ in task.batches("train", 500)])
    norm = model[0]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, images.mean((0, 2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.running_var, images.var((0, 2, 3)), atol=1e-5, rtol=1e-5)


def test_a_task_gives_a_fixed_subset() -> None:
    task = load_data("digits")
    means = []
    for seed in (0, 0, 1):
        norm = nn.BatchNorm2d(1)
        recalibrate_on_task(norm, task, 100, seed=seed)
        means.append(float(norm.running_mean))  # type: ignore[arg-type]
    assert means[0] == means[1] != means[2]


def test_weights_have_the_layout_that_they_came_in() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        model = model.to(memory_format=layout)
        before = [tensor.stride() for tensor in model.state_dict().values()]
        recalibrate_on_task(model, load_data("digits"), 50)
        assert [tensor.stride() for tensor in model.state_dict().values()] == before
