"""Proving that a dataset's bytes are those that were written, and naming what is not: file, sample and versions."""
