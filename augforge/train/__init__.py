"""The bundled trainer: models trained on shards, measured, compared. Needs the extra ``train``."""

import os

# OpenMP's threads spin while they wait: where loading processes want the cores too, a step took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
