"""Draw a picture of every op from generated hands, and write the page that shows them: ``make docs-ops``.

An op of samples is shown on its inputs, a filter on hands of which some are spoilt on purpose. The parameters are those
that the op's `Examples` name for its picture.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.keys import rng_for
from augforge.ops import OPS, BoundOp, Context, Op
from augforge.ops.contract_samples import make_candidate, replace_class
from augforge.ops.core import Candidate, Flag
from augforge.phantom import write_phantom
from augforge.report.overlay import overlay, scale_to_fit
from augforge.report.paint import GAP, INK, MUTED, Picture, blank, centre, grid, stack, text_line
from augforge.sample import Sample
from augforge.sources import SOURCES

FOLDER = Path(__file__).parent
SIDE, TEXT = 212, 12
BYTES = 56_000
SIZE, PERSONS, SEED = 448, 20, 7

AXIS = {"from": ["finger-11"], "to": ["finger-8"]}

NOT_OFFERED = """\
## Not offered

**SnapMix** (Huang et al. 2021, arXiv:2012.04846) pastes a box of one image into another and mixes their labels by how
much of each class's *evidence* lies inside the box and outside. That evidence is the class activation map of the very
network that is being trained, at that moment: it differs from epoch to epoch and from run to run. A dataset that is
made once, ahead of training, could only hold maps of some other, finished network. The labels would then say what that
network looked at, would need its weights to be repeated, and would not be SnapMix. Where masks are there, the honest
offline relative is `cutmix`: its masks say exactly what shows. For soft labels by evidence, use SnapMix in the
training loop. [ADR 25](../adr/0025-no-snapmix-offline.md) has all reasons.
"""


@dataclass
class Stage:
    """The generated hands and their classes.

    Attributes:
        hands: as they were made.
        odd: the same, some of them spoilt on purpose, and so named.
    """

    classes: tuple[str, ...]
    hands: list[Sample]
    odd: list[Sample] = field(default_factory=list)

    def context(self, fitted: Any = None) -> Context:
        return Context(self.classes, (), fitted)


def main() -> None:
    stage = make_stage()
    for name in sys.argv[1:] or shipped():
        save(picture_of(OPS[name], stage), FOLDER / f"{name}.png")
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")


def shipped() -> list[str]:
    """Names of augforge's own ops."""
    return [name for name, op in OPS.items() if not op.origin]


def make_stage() -> Stage:
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(f"{folder}/hands", persons=PERSONS, size=SIZE, seed=SEED)
        source = SOURCES["hand-bone"].model_validate(
            {"format": "hand-bone", "path": f"{folder}/hands", "classes": "hand-bone"}
        )
        listing = source.scan(FileCache(Path(folder) / "files.sqlite"))
        hands = [replace(source.load(r, listing.classes), metadata=r.metadata) for r in listing.records]
    stage = Stage(listing.classes, hands)
    stage.odd = list(spoil_some(stage))
    return stage


def spoil_some(stage: Stage) -> Iterator[Sample]:
    """The hands, every fifth spoilt in one of the ways that filters look for."""
    ways = iter([darken, invert, swap_labels, halve_bone, shift_bone, remove_masks, copy_other, keep_sliver])
    for i, hand in enumerate(stage.hands):
        way = next(ways, None) if i % 5 == 4 else None
        yield hand if way is None else way(hand, stage)


def darken(hand: Sample, stage: Stage) -> Sample:
    return replace(hand, name="spoilt: dark", image=hand.image // 5)


def invert(hand: Sample, stage: Stage) -> Sample:
    return replace(hand, name="spoilt: inverted", image=255 - hand.image)


def swap_labels(hand: Sample, stage: Stage) -> Sample:
    pair = (stage.classes.index("finger-2"), stage.classes.index("finger-14"))
    return replace(hand, name="spoilt: labels swapped", masks=bitmask.swap_classes(hand.masks, [pair]))


def halve_bone(hand: Sample, stage: Stage) -> Sample:
    c = stage.classes.index("finger-11")
    mask = bitmask.class_mask(hand.masks, c)
    rows = np.flatnonzero(mask.any(axis=1))
    mask[(rows[0] + rows[-1]) // 2 :] = 0
    return with_class(hand, c, mask, "spoilt: half a bone")


def shift_bone(hand: Sample, stage: Stage) -> Sample:
    c = stage.classes.index("finger-7")
    return with_class(hand, c, np.roll(bitmask.class_mask(hand.masks, c), 60, axis=1), "spoilt: bone shifted")


def keep_sliver(hand: Sample, stage: Stage) -> Sample:
    c = stage.classes.index("finger-3")
    mask = bitmask.class_mask(hand.masks, c)
    mask[np.flatnonzero(mask.any(axis=1))[0] + 3 :] = 0
    return with_class(hand, c, mask, "spoilt: a sliver")


def with_class(hand: Sample, c: int, mask: np.ndarray, name: str) -> Sample:
    masks = hand.masks.copy()
    masks = replace_class(masks, c, mask)
    return replace(hand, name=name, masks=masks)


def remove_masks(hand: Sample, stage: Stage) -> Sample:
    return replace(hand, name="spoilt: no masks", masks=np.zeros_like(hand.masks))


def copy_other(hand: Sample, stage: Stage) -> Sample:
    """Another picture once more, smaller and brighter."""
    twin = stage.hands[0]
    image = cv2.resize(twin.image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    masks = bitmask.per_plane(
        lambda p: cv2.resize(p, image.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT), twin.masks
    )
    return replace(
        hand, name=f"spoilt: {twin.name[-6:]} copied", image=cv2.convertScaleAbs(image, alpha=1.15), masks=masks
    )


# Pictures


def picture_of(op: Op[Any], stage: Stage) -> Picture:
    params = op.params.model_validate(op.examples.picture)
    bound = BoundOp(op.name, params)
    params.check(stage.context())
    parts = show_filter(bound, stage) if op.role == "filter" else show_op(bound, stage)
    declared = ", ".join(f"{key}: {shorten(value)}" for key, value in op.examples.picture.items())
    header = text_line([(op.name, INK), (declared, MUTED)], max(part.shape[1] for part in parts), TEXT + 2)
    return stack([header, *parts], gap=8)


def show_op(bound: BoundOp, stage: Stage) -> list[Picture]:
    """Inputs, and what one or two draws make of them."""
    op, count = bound.op, bound.op.inputs(bound.params)
    ctx = stage.context(fit_table(bound, stage.hands, stage))
    inputs = choose_inputs(bound, stage, count)
    panels = [panel(s, stage, f"input {i + 1}" if count > 1 else "input") for i, s in enumerate(inputs)]
    outputs, lines = [], []
    for copy in range(2 if op.draw is not None and count < 4 else 1):
        call = bound.call(inputs, ctx, rng_for(SEED, op.name, copy))
        drawn, made = call.drawn, [one for one in call.results if isinstance(one, Sample)]
        outputs += [panel(s, stage, f"output {s.mark}") for s in made[:6]]
        lines += [f"drawn: {shorten(drawn)}"] if drawn is not None else []
        lines += [f"found: {shorten(dict(made[0].notes))}"] if len(made) == 1 and made[0].notes else []
        if len(made) > 1:
            break
    width = 3 if len(panels) + len(outputs) <= 3 else 4
    cells = grid([*panels, *outputs], min(width, len(panels) + len(outputs)))
    return [cells, *(text_line([(line, MUTED)], cells.shape[1], TEXT) for line in lines)]


def choose_inputs(bound: BoundOp, stage: Stage, count: int) -> list[Sample]:
    """The first hands; for what turns hands upright, a turned one."""
    if bound.name == "rotate_normalise":
        candidates = table(BoundOp("tilt", OPS["tilt"].params.model_validate({"axis": AXIS})), stage.hands, stage)
        leans = [abs(c.features.get("angle_deg") or 0) for c in candidates]
        return [stage.hands[int(np.argmax(leans))]]
    return stage.hands[:count]


def show_filter(bound: BoundOp, stage: Stage) -> list[Picture]:
    """What a filter flags first, and some of what it keeps."""
    candidates = table(bound, stage.odd, stage)
    ctx = stage.context(fit_table(bound, stage.odd, stage))
    flags = bound.op.decide(candidates, bound.params, ctx)
    found = [(flag, sample) for flag, sample in zip(flags, stage.odd, strict=True) if flag is not None]
    found.sort(key=lambda one: -(one[0].score or 0))
    kept = [sample for flag, sample in zip(flags, stage.odd, strict=True) if flag is None]
    panels = [panel(sample, stage, verdict(flag), flag.detail, sample.name) for flag, sample in found[:4]]
    panels += [panel(sample, stage, "kept", "", sample.name) for sample in kept[: 6 - len(panels)]]
    cells = grid(panels, 3)
    line = f"{len(found)} of {len(stage.odd)} flagged. fitted: {shorten(ctx.fitted)}" if ctx.fitted else None
    line = line or f"{len(found)} of {len(stage.odd)} flagged"
    return [cells, text_line([(line, MUTED)], cells.shape[1], TEXT)]


def verdict(flag: Flag) -> str:
    return flag.reason if flag.score is None else f"{flag.reason}, score {flag.score:.3g}"


def fit_table(bound: BoundOp, samples: Sequence[Sample], stage: Stage) -> Any:
    if bound.op.fit is None or not bound.needs_fitting:
        return None
    return bound.op.fit(table(bound, samples, stage), bound.params, stage.context())


def table(bound: BoundOp, samples: Sequence[Sample], stage: Stage) -> list[Candidate]:
    return [make_candidate(bound, sample, stage.context()) for sample in samples]


def panel(sample: Sample, stage: Stage, *lines: str) -> Picture:
    picture = overlay(scale_to_fit(sample, SIDE, SIDE), stage.classes, alpha=0.3)
    captions = [text_line([(line, INK if i == 0 else MUTED)], SIDE, TEXT) for i, line in enumerate(lines)]
    return np.concatenate([centre(picture, SIDE, SIDE), *captions, blank(GAP // 2, SIDE)])


def shorten(value: Any) -> str:
    """JSON-like values in a few words."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shorten(item)}" for key, item in value.items())
    return f"[{', '.join(map(shorten, value))}]" if isinstance(value, list) else str(value)


def save(picture: Picture, path: Path) -> None:
    """Write a PNG with as many levels of gray and colour as fit into BYTES."""
    for step in (1, 4, 8, 12, 16, 24):
        coarse = np.minimum(255, (picture.astype(int) + step // 2) // step * step).astype(np.uint8)
        Image.fromarray(coarse).quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= BYTES:
            return


# The page


def page() -> str:
    rows = "".join(entry(OPS[name]) for name in shipped())
    head = """# The ops

Every op on generated hands, drawn by `make docs-ops`. `augforge ops NAME` prints its parameters. The role says what it
is for: `prepare` acts on every split by default, `augment` on train alone; `filter` drops from train, tags elsewhere.
"""
    return f"{head}{rows}\n{NOT_OFFERED}"


def entry(op: Op[Any]) -> str:
    papers = "; ".join(
        dict.fromkeys(re.findall(r"\(([^();]*(?:arXiv|doi):[^();]*)[;)]", " ".join(text_of(op).split())))
    )
    source = f" Source: {papers}." if papers else ""
    return f"\n## {op.name}\n\n{first_sentence(op)} Role: {op.role}.{source}\n\n![{op.name}]({op.name}.png)\n"


def first_sentence(op: Op[Any]) -> str:
    summary = re.sub(r" \([^()]*(?:arXiv|doi):[^()]*\)", "", " ".join(text_of(op).split("\n\n")[0].split()))
    return summary if summary.endswith(".") else summary + "."


def text_of(op: Op[Any]) -> str:
    return op.params.__doc__ or ""


if __name__ == "__main__":
    main()
