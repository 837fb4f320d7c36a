"""Filters: ops that find samples to drop or to tag, and what they measure by."""
