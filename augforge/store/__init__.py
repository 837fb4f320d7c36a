"""Datasets on disk or behind a URL: codecs, shards, index, manifest, reading and verifying."""
