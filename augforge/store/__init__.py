"""Datasets on disk: codecs, shards, index, manifest, reading and verifying."""
