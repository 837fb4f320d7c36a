"""A first review file, made of what a recipe's filters found: a person corrects it, and the recipe names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from augforge.engine.outcome import Finding
from augforge.engine.outliers import Outliers
from augforge.engine.verdicts import review_line
from augforge.errors import AugforgeError
from augforge.files import write_text
from augforge.recipe.recipe import Verdict

_HEAD = """\
# A person's verdicts on source images, which overrule every filter: `review: {name}` in the recipe.
# Look at each sample, correct its verdict (keep or drop), and say why. As it is, this file drops the source images
# that the filters drop. Lines behind a # are findings that drop no source image as a whole.
samples:{empty}
"""


def write_review(found: Outliers, path: Path) -> int:
    """Write a review file with a verdict on each source image that the filters drop; how many verdicts it holds.

    The verdicts of the recipe's present review are taken over. Source images that filters only flagged, or of which
    something is left, follow as comments.

    Raises:
        AugforgeError: there is such a file already, which may hold somebody's work.
    """
    if path.exists():
        raise AugforgeError(f"{path} exists, and somebody may have worked on it. Choose another name")
    verdicts = {**_dropped(found), **found.opened.recipe.review}
    lines = [f"  {review_line(name, verdict)}" for name, verdict in sorted(verdicts.items())]
    remarks = [f"  # {review_line(name, verdict)}" for name, verdict in _remarks(found) if name not in verdicts]
    head = _HEAD.format(name=path.name, empty="" if lines else " {}")
    write_text(path, head + "".join(f"{line}\n" for line in [*lines, *remarks]))
    return len(verdicts)


def _dropped(found: Outliers) -> dict[str, Verdict]:
    """A verdict on each source image of which the filters leave nothing, by its name."""
    verdicts: dict[str, Verdict] = {}
    for finding in found.findings:
        roots = {root.name for root in finding.row.lineage.roots} - found.remaining
        if finding.outcome == "dropped":
            for name in roots:
                verdicts.setdefault(name, _verdict(finding))
    return verdicts


def _remarks(found: Outliers) -> Iterator[tuple[str, Verdict]]:
    """A verdict on each source image that shows in some flagged sample, sorted; the first finding counts."""
    remarks: dict[str, Verdict] = {}
    for finding in found.findings:
        for root in finding.row.lineage.roots:
            remarks.setdefault(root.name, _verdict(finding))
    yield from sorted(remarks.items())


def _verdict(finding: Finding) -> Verdict:
    """The verdict that a finding suggests, and its reason in words."""
    flag = finding.flag
    score = "" if flag.score is None else f"score {flag.score:.4g}"
    return Verdict(verdict="drop", why=", ".join(filter(None, (f"{finding.step}: {flag.reason}", score, flag.detail))))
