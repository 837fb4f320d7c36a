"""Golden results: what the examples of augforge's ops gave, kept in a file, so that changed pixels are seen.

The result of a new example is added by the test itself, but not where the variable CI is set: there nobody would commit
it, so it is missing. No result is ever replaced. AUGFORGE_GOLDEN=write removes those that no example makes any more.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from augforge.keys import digest
from augforge.ops.contract_samples import Call, Case, make_collection
from augforge.sample import Drop, Sample
from augforge.store.codec import pixel_digest

Results = dict[str, Any]


def check_golden(path: Path, case: Case) -> None:
    """Compare what an op gives with what it gave before; add it if it is new."""
    kept, found = read_golden(path), golden_result(case)
    if str(case) not in kept:
        if os.environ.get("CI"):
            pytest.fail(f"{path.name} has no result of {case}. Run the tests once and commit {path}", pytrace=False)
        change_golden(path, lambda results: results | {str(case): found})
    elif not is_alike(found, kept[str(case)]):
        pytest.fail(
            f"{case.op} gives other results than before:\nnow    {found}\nbefore {kept[str(case)]}\n"
            f"If that is intended, raise version= of {case.op.name}; AUGFORGE_GOLDEN=write removes the old results",
            pytrace=False,
        )


def check_no_stale(path: Path, cases: Collection[str]) -> None:
    """Fail if the file holds results that no case makes any more; remove them if AUGFORGE_GOLDEN=write says so."""
    if os.environ.get("AUGFORGE_GOLDEN") == "write":
        change_golden(path, lambda results: {key: result for key, result in results.items() if key in cases})
    stale = sorted(read_golden(path).keys() - set(cases))
    if stale:
        pytest.fail(f"no example makes these results any more; AUGFORGE_GOLDEN=write removes {stale}", pytrace=False)


def read_golden(path: Path) -> Results:
    """The kept results; none if there is no file yet."""
    kept: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept


def change_golden(path: Path, change: Callable[[Results], Results]) -> None:
    """Change the file atomically and under a lock: with pytest-xdist several processes add results at once."""
    # One for all such files: a lock file can only be left where it is, and one a file would be hundreds in time.
    with FileLock(Path(tempfile.gettempdir()) / f"augforge-golden-{getpass.getuser()}.lock", timeout=60):
        results = change(read_golden(path))
        lines = [f"{json.dumps(key)}: {json.dumps(results[key])}" for key in sorted(results)]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
        temporary.replace(path)


def golden_result(case: Case) -> Results:
    """What an op gives, in a form that is the same on every CPU.

    Resampling may differ by one gray value between CPU families. So: a digest of the masks and of evenly gray images,
    and of noisy images some gray values, compared with that tolerance.
    """
    if case.op.role == "filter":
        call = Call(case, make_collection())
        candidates = call.candidates(call.context)
        flags = case.op.decide(candidates, case.params, call.context)
        features = [candidate.features for candidate in candidates]
        return {"features": features, "fitted": call.context.fitted, "reasons": [f and f.reason for f in flags]}
    noisy = case.inputs()
    even = [replace(s, image=np.full_like(s.image, 40 + 20 * i)) for i, s in enumerate(noisy)]
    return {
        "even": digest([_pixels(made) for made in Call(case, even).results()]),
        "noisy": [_gray_values(made) for made in Call(case, noisy).samples()],
    }


def _pixels(made: Sample | Drop) -> list[Any]:
    if isinstance(made, Drop):
        return ["drop", made.reason]
    return [pixel_digest(made.image, made.masks), made.known.tobytes().hex(), made.mark]


def _gray_values(made: Sample) -> list[int]:
    """Gray values of 5x5 pixels, the corners among them."""
    rows, columns = (np.linspace(0, length - 1, 5).astype(int) for length in (made.height, made.width))
    return [int(value) for value in made.image[np.ix_(rows, columns)].ravel()]


def is_alike(found: Any, kept: Any) -> bool:
    """Equal, but for one in integers and a thousandth in other numbers."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(is_alike(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(is_alike, found, kept))
    if isinstance(kept, float):
        return math.isclose(found, kept, rel_tol=1e-3, abs_tol=1e-6)
    if type(kept) is int:
        return bool(abs(found - kept) <= 1)
    return bool(found == kept)
