"""Files of arrays: MNIST's idx and CIFAR's pickles."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np


def put_idx(path: Path, values: np.ndarray) -> Path:
    """An idx file of bytes; compressed if its name ends with .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def put_pickle(path: Path, content: Any, protocol: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path
