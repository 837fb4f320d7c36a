"""The patient of a medical image, which is its usual group."""

from __future__ import annotations

from collections.abc import Iterable

from augforge.sources.scan.own_splits import is_split_name
from augforge.sources.scan.scanning import Scan


def first_folder(name: str) -> str:
    """The first folder of a sample's name, ``sub-01`` of ``sub-01/ses-1/anat``; the name if there is none."""
    return name.partition("/")[0]


def patient_of(name: str, patient: str) -> str:
    """The usual group of a medical image: its PatientID, or else the first folder."""
    return patient or first_folder(name)


def warn_of_mixed_patients(scan: Scan, patients: Iterable[tuple[str, str]]) -> None:
    """Warn of first folders whose files have several PatientIDs.

    Such a folder may be one patient under several IDs, as anonymising leaves them, whose files could go to different
    splits.

    Args:
        scan: gets the warning.
        patients: name and PatientID of each file.
    """
    if scan.source.group is not None:
        return
    found: dict[str, set[str]] = {}
    for name, patient in patients:
        first, _, inner = name.partition("/")
        found.setdefault(first_folder(inner) if inner and is_split_name(first) else first, set()).add(patient)
    mixed = [folder for folder, ids in found.items() if len(ids) > 1]
    if mixed:
        scan.warnings.append(
            f"{len(mixed)} folders hold files of several PatientIDs, or some without one, such as {mixed[0]}; each ID "
            "is a group. Set source.group where a folder is one patient"
        )
