"""Listing: walking folders, reading headers and tables, matching files by name."""
