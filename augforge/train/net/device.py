"""The device of a run, its precision, and how to make runs repeatable bit for bit."""

from __future__ import annotations

import os
from typing import Literal

import torch

from augforge.errors import TrainError

Precision = Literal["fp32", "bf16", "fp16"]


def choose_device(name: str = "auto") -> torch.device:
    """The device by name: ``auto`` is a GPU if there is one, else Apple's, else the CPU.

    Raises:
        TrainError: the named device does not exist here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, exists in available.items() if exists))
    if not available.get(name, False):
        names = ", ".join(kind for kind, exists in available.items() if exists)
        raise TrainError(f"device: {name} is not there; torch {torch.__version__} finds {names}. Set device=auto")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision by name: ``auto`` is bf16 if the device computes in it, else fp16 on a GPU, else fp32.

    Raises:
        TrainError: the device cannot train in that precision.
    """
    if name == "auto":
        return _best(device)
    if name == "fp16" and device.type != "cuda":
        raise TrainError(f"precision: fp16 needs a CUDA GPU, this run is on {device.type}. Set precision=auto or fp32")
    if name == "bf16" and device.type == "mps":
        raise TrainError("precision: bf16 is for CUDA and CPU, this run is on mps. Set precision=auto or fp32")
    return name  # type: ignore[return-value]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which networks compute in a precision on a device."""
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype=low, enabled=low is not None)


def make_repeatable(seed: int, threads: int | None = None) -> None:
    """Seed torch and let it use deterministic algorithms only; on a GPU, torch warns of operations that have none.

    Args:
        seed: of everything random in torch: weights, dropout.
        threads: of the CPU; None keeps torch's choice, one per core. Another number of threads sums in another order.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time for nothing
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)


def _best(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bf16 (AVX512-BF16 or AMX); elsewhere it is emulated, and slow."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
