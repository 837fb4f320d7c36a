"""Samples for the tests: small, made from a seed, with classes that overlap."""

from __future__ import annotations

from augforge.ops.contract_samples import class_names, make_sample

__all__ = ["class_names", "make_sample"]
