"""Canonical JSON, digests, and random generators seeded by them.

Seeds are hashes of *names*, never of order, rank or time, so a build draws the same values on any machine, and an edit
of one image changes no draw of another.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

Id = str
"""A content id: 32 hexadecimal digits (128 bits of a SHA-256)."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text. ValueError for NaN and infinity."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Kept, since `json.dumps` makes a new one at each call, and a small sample takes some thirty calls."""


def digest(*parts: Any) -> Id:
    """Digest of JSON-like parts: 32 hexadecimal digits (128 bits of a SHA-256)."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:32]


def digest_of_texts(*texts: str) -> Id:
    """The `digest` of parts whose canonical JSON is known: what thousands of digests share is written out once."""
    return hashlib.sha256(f"[{','.join(texts)}]".encode()).hexdigest()[:32]


def hash64(*parts: Any) -> int:
    """A uniform hash of JSON-like parts: 0 to 2**64 - 1."""
    return int.from_bytes(hashlib.sha256(canonical_json(parts).encode()).digest()[:8], "big")


def unit_hash(*parts: Any) -> float:
    """A uniform number in [0, 1) that depends only on the JSON-like parts."""
    return (hash64(*parts) >> 11) / 2.0**53


def rng_for(*parts: Any) -> np.random.Generator:
    """A Generator that depends only on the JSON-like parts; PCG64 by name, since numpy may change its default."""
    seed = hashlib.sha256(canonical_json(parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def plain(value: Any) -> Any:
    """JSON-like data of Python's own types, NumPy's floats included. TypeError or ValueError if it is not JSON-like."""
    try:
        return json.loads(canonical_json(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}; give finite plain numbers, such as float(x) of a NumPy value") from None
