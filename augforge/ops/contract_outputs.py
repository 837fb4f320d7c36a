"""The part of the contract test of ops that looks at what an op makes of samples: types, masks, labels, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops.contract_samples import (
    Call,
    Case,
    differences,
    has_extra_bits,
    present_classes,
    require,
    set_writable,
)
from augforge.sample import Drop, Sample

KINDS = {"gray": ("uint8", 1), "gray16": ("uint16", 1), "rgb": ("uint8", 3), "rgba": ("uint8", 4)}
"""Types of images: dtype and channels."""


def check_outputs(case: Case, kind: str, classes: int) -> None:
    """Outputs are of the inputs' type, show no class that no input shows, and have the sizes that are promised."""
    dtype, channels = KINDS[kind]
    inputs = case.inputs(classes=classes, dtype=dtype, channels=channels)
    allowed = np.bitwise_or.reduce([present_classes(s) for s in inputs]) | case.named_classes(classes)
    results = Call(case, inputs, classes).results()
    strange = [type(made).__name__ for made in results if not isinstance(made, Sample | Drop)]
    require(not strange, f"it gives {strange}; expected Samples and Drops")
    require(all(made.reason for made in results if isinstance(made, Drop)), "a Drop without a reason")
    samples = [made for made in results if isinstance(made, Sample)]
    for made in samples:
        _check_image(case, made, inputs[0])
        _check_masks(made, allowed, classes)
    _check_sizes(case, inputs, samples)


def _check_image(case: Case, made: Sample, given: Sample) -> None:
    bits = getattr(case.params, "bits", 8 * given.image.dtype.itemsize)  # an op that changes the type has `bits`
    dtype, axis = made.image.dtype, made.image.shape[2:]
    require(dtype == f"uint{bits}", f"image of {dtype}; expected uint{bits}")
    require(axis == given.image.shape[2:], f"image of shape {made.image.shape} made of one of {given.image.shape}")


def _check_masks(made: Sample, allowed: NDArray[np.uint8], classes: int) -> None:
    expected = (made.height, made.width, bitmask.plane_count(classes))
    require(made.masks.shape == expected, f"masks of shape {made.masks.shape}; expected {expected}")
    require(not has_extra_bits(made.masks, classes), f"a bit beyond the {classes} classes is set in the masks")
    invented = bitmask.bits_to_flags(present_classes(made) & ~allowed, classes)
    require(not invented.any(), f"it invents classes that no input shows: {np.flatnonzero(invented).tolist()}")
    beyond = made.known & ~bitmask.all_bits(classes)
    require(made.known.dtype == np.uint8 and not beyond.any(), f"`known` has bits beyond the {classes} classes")


def _check_sizes(case: Case, inputs: Sequence[Sample], samples: Sequence[Sample]) -> None:
    sizes = [(made.width, made.height) for made in samples]
    promised = case.op.sizes([(s.width, s.height) for s in inputs], case.params)
    if case.op.exact(case.params):
        require(sizes == promised, f"outputs of sizes {sizes}, promised were {promised}; register `gives_sizes`")
    else:
        fewer = len(sizes) <= len(promised) and set(sizes) <= set(promised)
        require(fewer, f"outputs of sizes {sizes}, promised were at most {promised}; register `gives_sizes`")


def check_inputs_are_untouched(case: Case) -> None:
    """An op never writes into its inputs, and works on those that cannot be written to."""
    inputs = case.inputs()
    for writable in (True, False):
        set_writable(inputs, writable)
        Call(case, inputs).results()
        changed = differences(inputs, case.inputs())
        require(not changed, f"it writes into its inputs ({changed}); copy before changing")


def check_same_key_same_bytes(case: Case) -> None:
    """Called again on the same inputs, or on equal ones, an op draws and gives the same."""
    inputs = case.inputs()
    call = Call(case, inputs)
    drawn, first = call.drawn(), call.results()
    again = call.drawn()
    require(again == drawn, f"from the same generator it draws {drawn}, then {again}; all chance comes from `rng`")
    for given in (inputs, case.inputs()):
        changed = differences(Call(case, given).results(), first)
        require(not changed, f"called again it gives something else ({changed}); keep no state between calls")


def check_memory_layout_does_not_matter(case: Case) -> None:
    """Planar masks, as datasets hold them, and interleaved ones give the same."""
    inputs = case.inputs(classes=29)
    planar = [replace(s, masks=np.moveaxis(bitmask.planar(s.masks), 0, -1)) for s in inputs]
    changed = differences(Call(case, planar, 29).results(), Call(case, inputs, 29).results())
    require(not changed, f"planar masks give something else ({changed}); use bitmask.contiguous or per_plane")


def check_marks_are_unique(case: Case) -> None:
    """Several outputs of one call differ in their marks, which become part of their names."""
    marks = [made.mark for made in Call(case, case.inputs()).samples()]
    require(len(set(marks)) == len(marks), f"duplicate marks among {marks}; pass `mark=` to `derive`")


def check_only_declared_metadata_is_read(case: Case) -> None:
    """Results depend only on the metadata that the op declares to read."""
    inputs = case.inputs()
    bare = [replace(s, metadata={key: s.metadata[key] for key in case.op.reads}) for s in inputs]
    changed = differences(Call(case, bare).results(), Call(case, inputs).results(), but="metadata")
    require(not changed, f"metadata that it does not declare matters ({changed}); name it in `reads=`")


def check_unknown_classes_stay_unknown(case: Case) -> None:
    """An output knows a class only if all inputs do, and holds no pixel of a class that it does not know."""
    rng = np.random.default_rng(3)
    known = [bitmask.flags_to_bits(rng.random(29) < 0.7) for _ in case.slots]
    inputs = [replace(s, known=k, masks=s.masks & k) for s, k in zip(case.inputs(classes=29), known, strict=True)]
    allowed = np.bitwise_and.reduce(known) | case.named_classes(29)
    for made in Call(case, inputs, 29).samples():
        require(not (made.masks & ~made.known).any(), "the masks hold pixels of a class that is not known")
        require(not (made.known & ~allowed).any(), "a class is known, though an input does not know it; AND `known`")


def check_unlabelled_samples_stay_unlabelled(case: Case) -> None:
    """Of inputs that nobody labelled, outputs know no class and hold no pixel of one."""
    inputs = [replace(s, known=s.known * 0, masks=s.masks * 0) for s in case.inputs()]
    for made in Call(case, inputs).samples():
        require(not made.known.any() and not made.masks.any(), "an output of unlabelled inputs is labelled")


def check_labels_pass_or_mix(case: Case) -> None:
    """A label vector passes through an op of one input, is mixed with sum 1 by others, and is never made up."""
    vectors = np.eye(3, dtype=np.float32)
    inputs = [replace(s, label=vectors[i % 3]) for i, s in enumerate(case.inputs())]
    for made in Call(case, inputs).samples():
        label = np.zeros(0) if made.label is None else made.label
        require(label.dtype == np.float32 and label.shape == (3,), f"label {made.label!r}; expected float32 (3,)")
        require(label.min() >= 0 and abs(label.sum() - 1) <= 1e-6, f"label {label}; expected shares whose sum is 1")
        require(len(inputs) > 1 or (label == vectors[0]).all(), f"label {label}; expected the input's, {vectors[0]}")
    made_up = [made.label for made in Call(case, case.inputs()).samples() if made.label is not None]
    require(not made_up, f"label {made_up} of inputs without one")
