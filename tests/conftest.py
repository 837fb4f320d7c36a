"""Samples for the tests: small, made from a seed, with classes that overlap; and settings of Hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from augforge.ops.contract_samples import class_names, make_sample

__all__ = ["class_names", "make_sample"]

# How long an example takes says something about the machine, not about the code.
settings.register_profile("augforge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("augforge")
