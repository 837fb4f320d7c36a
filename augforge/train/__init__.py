"""The bundled trainer: train models on shards, evaluate and compare them. Needs the extra ``train``."""

import os

# OpenMP's threads spin while they wait. With loading processes on the same cores, a step took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
