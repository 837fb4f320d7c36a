"""The bundled trainer: models trained on shards, measured, compared. Needs the extra ``train``."""
