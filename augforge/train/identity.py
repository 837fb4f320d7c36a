"""What makes two configurations the same, though one was written before some of the keys were known."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_FIRST_KEYS = {
    "TrainConfig": "model data optimizer schedule loss epochs steps seed precision device threads channels_last "
    "compile ema swa validate_every checkpoint_every threshold",
    "ModelConfig": "architecture encoder weights options",
    "DataConfig": "size crop channels normalise batch_size workers online sampling",
    "OptimizerConfig": "name lr weight_decay momentum clip accumulate",
    "ScheduleConfig": "name warmup final every factor patience",
    "LossConfig": "name weight smoothing gamma alpha",
}
"""The keys of the first version, which `identity_of` always holds."""


def identity_of(value: Any) -> Any:
    """What digests of a configuration are made of, JSON-like: later keys are left out while they have their default.

    So a study that an earlier version began finds its finished parts again.
    """
    if isinstance(value, tuple):
        return [identity_of(each) for each in value]
    if not isinstance(value, BaseModel):
        return value
    first, fields = _FIRST_KEYS.get(type(value).__name__, "").split(), type(value).model_fields
    kept = {
        name: getattr(value, name)
        for name, field in fields.items()
        if name in first or getattr(value, name) != field.get_default(call_default_factory=True)
    }
    return {name: identity_of(each) for name, each in kept.items()}
