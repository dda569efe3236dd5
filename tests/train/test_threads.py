from __future__ import annotations

import pytest
import torch

from onepath.train.threads import FEW_PIXELS, shared_threads, worthwhile_threads


@pytest.fixture
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
def test_small_batches_take_one_thread_and_give_the_others_back() -> None:
    with worthwhile_threads(FEW_PIXELS - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with worthwhile_threads(FEW_PIXELS):
        assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), worthwhile_threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize(("cores", "processes", "threads"), [(8, 2, 3), (4, 2, 2), (4, 3, 1), (1, 4, 1)])
def test_processes_share_the_cores(
    cores: int, processes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onepath.train.threads.usable_cores", lambda: cores)
    assert shared_threads(processes) == threads
