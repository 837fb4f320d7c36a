"""Canonical JSON, digests and the random streams that hang on them.

Chance hashes *names*, never order, rank or time, so a build draws the same on any machine and an edit
elsewhere redraws nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

Id = str
"""A content id: 32 hexadecimal digits (128 bits of a SHA-256)."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text. NaN is refused with ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(*parts: Any) -> Id:
    """Digest of JSON-like parts, 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:32]


def hash64(*parts: Any) -> int:
    """A uniform 64-bit hash of JSON-like parts."""
    return int.from_bytes(hashlib.sha256(canonical_json(parts).encode()).digest()[:8], "big")


def unit_hash(*parts: Any) -> float:
    """A uniform number in [0, 1) that depends on the parts alone."""
    return (hash64(*parts) >> 11) / 2.0**53


def rng_for(*parts: Any) -> np.random.Generator:
    """A Generator that depends on the parts alone; PCG64 by name, so that numpy's default may change."""
    seed = hashlib.sha256(canonical_json(parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
