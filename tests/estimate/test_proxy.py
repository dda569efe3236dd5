from __future__ import annotations

import pytest
import torch

import onepath as op
from onepath.errors import ConfigurationError
from onepath.estimate.proxy import Proxy


@pytest.fixture(scope="module")
def digits() -> op.Task:
    return op.load_data("digits")


def test_a_part_of_the_data_at_another_resolution(digits: op.Task) -> None:
    task = Proxy(subset=0.25, resolution=6).task(digits, seed=3)
    assert task.num_examples("train") == round(0.25 * digits.num_examples("train"))
    assert task.num_examples("validation") == digits.num_examples("validation")
    assert task.input_shape == (1, 6, 6)
    (batch,) = task.train_batches(8, seed=0, num_updates=1)
    assert batch.inputs.shape == (8, 1, 6, 6)
    assert len({digits.fingerprint, task.fingerprint}) == 2


def test_a_whole_proxy_is_the_task_itself(digits: op.Task) -> None:
    assert Proxy(epochs=2).task(digits, 0) is digits


def test_a_smaller_part_is_within_a_larger_one_and_the_seed_decides(digits: op.Task) -> None:
    def images(share: float, seed: int) -> set[bytes]:
        task = Proxy(subset=share).task(digits, seed)
        return {image.numpy().tobytes() for batch in task.batches("train", 256) for image in batch.inputs}

    assert images(0.1, 0) < images(0.3, 0)
    assert images(0.1, 0) != images(0.1, 1)


def test_a_resized_image_keeps_its_mean(digits: op.Task) -> None:
    whole = next(iter(digits.batches("validation", 32))).inputs
    half = next(iter(digits.resized(4).batches("validation", 32))).inputs
    torch.testing.assert_close(half.mean((1, 2, 3)), whole.mean((1, 2, 3)), atol=0.05, rtol=0)


def test_parts_of_datasets_and_of_text() -> None:
    inputs = torch.arange(40.0).reshape(40, 1)
    data = torch.utils.data.TensorDataset(inputs, inputs * 2)
    task = op.Task.from_datasets(data, data, data, loss="mse").part(0.25, seed=1)
    found = torch.cat([batch.inputs for batch in task.batches("train", 7)]).flatten().tolist()
    assert len(found) == len(set(found)) == 10
    assert found == sorted(found)
    assert task.num_examples("test") == 40


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "1 <= epochs"),
        ({"subset": 0.0}, "0 < subset <= 1"),
        ({"subset": float("nan")}, "0 < subset <= 1"),
        ({"width": -1.0}, "0 < width"),
        ({"resolution": 0}, "1 <= resolution"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Proxy(**wrong)  # type: ignore[arg-type]


def test_a_task_without_images_has_no_resolution() -> None:
    data = torch.utils.data.TensorDataset(torch.zeros(30, 2), torch.zeros(30, 1))
    with pytest.raises(ConfigurationError, match="another resolution needs images"):
        Proxy(resolution=4).task(op.Task.from_datasets(data, loss="mse"), 0)
