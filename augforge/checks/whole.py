"""The check that a dataset is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from augforge.checks.core import Check, Finding, NotChecked, Result
from augforge.checks.subject import Subject
from augforge.errors import DatasetError
from augforge.files import is_url
from augforge.store.verify import verify

_FILE = re.compile(r"(?P<file>[\w@.-]+(/[\w@.-]+)*\.(parquet|yaml|md|jsonl)): ")


def find_damage(subject: Subject) -> Iterator[Result]:
    """The dataset is what its manifest says: one finding for each fault that `augforge verify` names."""
    if not subject.has_dataset:
        yield NotChecked(f"the dataset does not lie at {subject.place}")
        return
    try:
        problems = verify(subject.place, subject.opened_version, subject.pixels)
    except DatasetError as error:
        problems = [str(error)]
    for problem in problems:
        file = _FILE.match(problem)
        inside = "" if file is None or is_url(subject.place) else f"/{file['file']}"
        remedy = f"Make it again: augforge build {subject.recipe_path or 'RECIPE'} --out {subject.place} --no-reuse"
        yield Finding("damaged dataset", f"{subject.name}: {problem}", remedy, file=subject.place + inside)


CHECKS = [Check("whole", find_damage)]
