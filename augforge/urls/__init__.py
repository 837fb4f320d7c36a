"""Objects behind URLs that fsspec reads and writes: ``s3://``, ``gs://``, ``https://`` and others."""
