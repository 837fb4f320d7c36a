"""Annotations as bit-planes: polygons, run lengths, mask pictures and their values."""
