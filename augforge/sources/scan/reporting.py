"""What a scan reports on the way: problems, bad samples, warnings and findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from augforge.errors import SourceError, some
from augforge.sources.core import Source
from augforge.sources.listing import Finding, Refused
from augforge.sources.plausibility.outlines import OutlineCensus
from augforge.sources.raster.outlines import covered_classes, shape_outside_image
from augforge.sources.scan.likely import clear_hint
from augforge.sources.scan.orientation import exif_hint

_SHOWN = 10


class ScanReport:
    """Collects what a scan of a source reports.

    Attributes:
        source: what is scanned; its options decide.
        problems: messages of what has to stop the build.
        refused: rows for the rejected table.
        warnings: messages for the user.
        findings: what is implausible; see `find`.
        bad_names: names of bad samples, which the listing leaves out.
        labels_seen: what the files call classes, as far as the source notes it; None where it does not.
        names_sought: by option, what it names and what the files have of that kind; see `note_names`.
        orphans: places of labels that fit no image, by the names that their images would have.
        outlines: what shapes say of where they lie.
        drawn_somewhere: the classes that some sample shows, where the source does not know it of each; else None.
        covered: the names of the samples of which a class covers every pixel, by the class.
        splits_assigned: whether the data names the split of each image, so that its folders' names decide nothing.
        told_to_fill: classes of which a finding says already that they fill their masks.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[str] = []
        self.refused: list[Refused] = []
        self.warnings: list[str] = []
        self.findings: list[Finding] = []
        self.bad_names: set[str] = set()
        self.labels_seen: set[str] | None = None
        self.orphans: dict[str, str] = {}
        self.names_sought: dict[str, tuple[set[str], set[str]]] = {}
        self.outlines = OutlineCensus()
        self.drawn_somewhere: set[str] | None = None
        self.covered: dict[str, list[str]] = {}
        self.splits_assigned = False
        self.told_to_fill = set[str]()

    def bad_sample(self, name: str, reason: str, message: str) -> None:
        """Report a problem of one sample; by ``on_error`` it stops the build or becomes a rejected row.

        ``reason`` is a few words, the same for all problems of a kind, which are counted by it; ``message`` says more.
        """
        self.bad_names.add(name)
        if self.source.on_error == "reject":
            self.refused.append(self.source.refused_row(name, reason, message))
        else:
            self.problems.append(message)

    def source_error(self, message: str) -> None:
        """Report a problem of the source as a whole; it stops the build whatever ``on_error`` is."""
        self.problems.append(message)

    def find(self, kind: str, message: str, remedy: str, names: Iterable[str] = ()) -> None:
        """Report something implausible, which the build goes on with and tells; see `Finding`."""
        self.findings.append(Finding(kind, message, remedy, tuple(names)))

    def note_labels(self, labels: Iterable[str]) -> None:
        """Note what the files call classes, so that a key of ``class_map`` that names none of them can be reported."""
        self.labels_seen = {*(self.labels_seen or ()), *labels}

    def note_names(self, option: str, wanted: Iterable[str], found: Iterable[str]) -> None:
        """Note what an option names, and what there is, so that a name that matches nothing can be reported."""
        self.names_sought[option] = ({*wanted}, {*found})

    def check_size(self, name: str, place: str, size: Sequence[int], image: Mapping[str, Any]) -> None:
        """Report an annotation whose size differs from its image's as a bad sample."""
        if [*size] != [image["width"], image["height"]]:
            self.bad_sample(
                name,
                "size differs",
                f"{self.source.root / place} has {size[0]}x{size[1]} pixels, its image "
                f"{image['width']}x{image['height']}; expected the same. Restore the image that was annotated, or "
                f"annotate this one.{exif_hint(size, image)}",
            )

    def note_outlines(
        self, name: str, place: str, outlines: Mapping[str, Any], image: Mapping[str, Any], shared: bool = False
    ) -> None:
        """Note where the shapes of a sample lie; one that lies wholly outside of its image makes it a bad sample.

        Args:
            name: of the sample.
            place: of its annotation file.
            outlines: the `Outlines.facts` of its shapes, in pixels.
            image: the facts of its image.
            shared: whether the file annotates other images too.
        """
        outside = shape_outside_image(outlines["far"], image, self.source.root / place)
        if outside is not None and name not in self.bad_names:
            self.bad_sample(name, "outside the image", outside)
        self.outlines.see(name, place, outlines, image, shared)
        for class_ in covered_classes(outlines, image, getattr(self.source, "polygon_fill", "outline")):
            self.note_covered(name, class_)

    def note_covered(self, name: str, class_: str) -> None:
        """Note that a class covers every pixel of a sample."""
        names = self.covered.setdefault(class_, [])
        if names[-1:] != [name]:
            names.append(name)

    def raise_problems(self) -> None:
        """Raise a SourceError with all problems reported so far, if there are any."""
        problems = self.problems
        if len(problems) == 1:
            raise SourceError(problems[0] + clear_hint(self.source))
        if problems:
            more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            advice = _common_advice(problems)
            shown = "".join(f"\n  - {_without_advice(each) if advice else each}" for each in problems[:_SHOWN])
            fact = f"{len(problems)} problems in {self.source.root}:{shown}{more}{advice}"
            raise SourceError(f"{fact}{clear_hint(self.source)}")


_UNKNOWN_LABEL = re.compile(r".*label '(.*?)' is not in classes\.", re.DOTALL)


def _common_advice(problems: Sequence[str]) -> str:
    """What to do about labels that are not in the classes, once for all of them; empty if there are fewer than two."""
    found = [match[1] for problem in problems if (match := _UNKNOWN_LABEL.search(problem))]
    if len(found) < 2:
        return ""
    labels = sorted({*found})
    example = f"class_map: {{{labels[0]}: CLASS}}"
    names = f"{some(labels, 10)} {'is' if len(labels) == 1 else 'are'} not in classes"
    return f"\n  {names}. Map what is meant, '{example}', and leave out all others: 'class_map: {{\"*\": null}}'."


def _without_advice(problem: str) -> str:
    """A problem without what is advised for all labels of its kind."""
    found = _UNKNOWN_LABEL.search(problem)
    return problem[: found.end() - 1] if found else problem
