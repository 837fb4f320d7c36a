"""The check that a dataset is whole."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from augforge.checks.core import Check, Finding, NotChecked, Result
from augforge.checks.subject import Subject
from augforge.errors import DatasetError
from augforge.files import is_url
from augforge.store.verification.report import Fault, Report
from augforge.store.verify import check_dataset


def find_damage(subject: Subject) -> Iterator[Result]:
    """The dataset is what its manifest says: a finding for each fault that `augforge verify` names, or note."""
    if not subject.has_dataset:
        yield NotChecked(f"the dataset does not lie at {subject.place}")
        return
    try:
        found = check_dataset(subject.place, subject.opened_version, pixels=subject.pixels)
    except DatasetError as error:
        found = Report(faults=[Fault("manifest.yaml", "damaged", str(error))])
    url = is_url(subject.place)
    remedy = "Upload the file again" if url else f"Repair it: augforge repair {quote(str(subject.place))}"
    for fault in found.faults:
        file = fault.file if is_url(fault.file) else f"{subject.place}/{fault.file}"
        yield Finding("damaged dataset", f"{subject.name}: {fault}", remedy, file=file, names=fault.samples)
    for note in found.notes:
        yield Finding("note", f"{subject.name}: {note}", "", "warning", *subject.where)


CHECKS = [Check("whole", find_damage)]
