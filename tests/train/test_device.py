"""Devices and precisions are chosen by what is there; a seed repeats a step bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from augforge.errors import TrainError
from augforge.train.net.device import choose_device, choose_precision, make_repeatable

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


@pytest.fixture
def as_before() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    switches: Any = torch.utils.deterministic  # a module that is typed as if it had no such attribute
    fill = switches.fill_uninitialized_memory
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    switches.fill_uninitialized_memory = fill


def test_auto_prefers_cuda_then_mps_then_cpu(there: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == CPU
    there.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    there.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == CUDA
    assert choose_device("cpu") == CPU


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(TrainError, match=rf"device: {name} is not there; torch .* finds cpu. Set device=auto"):
        choose_device(name)


@pytest.mark.parametrize(("capability", "precision"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")])
def test_auto_on_a_gpu_is_bf16_from_ampere(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", CUDA) == precision


@pytest.mark.parametrize(
    ("avx512", "amx", "precision"), [(True, False, "bf16"), (False, True, "bf16"), (False, False, "fp32")]
)
def test_auto_on_a_cpu_is_bf16_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert choose_precision("auto", CPU) == precision


def test_named_precisions_are_kept_where_they_can_train() -> None:
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    assert [choose_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert [choose_precision(name, CUDA) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


@pytest.mark.parametrize(("name", "device"), [("fp16", "cpu"), ("fp16", "mps"), ("bf16", "mps")])
def test_precisions_that_cannot_train_are_refused(name: str, device: str) -> None:
    with pytest.raises(TrainError, match=rf"precision: {name} .*{device}. Set precision=auto or fp32"):
        choose_precision(name, torch.device(device))


@pytest.mark.usefixtures("as_before")
def test_a_seed_repeats_a_step_bit_for_bit() -> None:
    first, again, other = (step(seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("as_before")
def test_threads_are_set_and_algorithms_repeatable() -> None:
    make_repeatable(0, threads=1)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def step(seed: int) -> torch.Tensor:
    """A weight after one step of a small net with dropout."""
    make_repeatable(seed)
    first = nn.Conv2d(1, 8, 3)
    net = nn.Sequential(first, nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, 1, 3))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 1, 16, 16)).square().mean().backward()
    optimizer.step()
    return first.weight.detach()
