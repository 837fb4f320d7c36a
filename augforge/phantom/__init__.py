"""Synthetic hand radiographs in the layout of a segmentation contest: data for the demo, tests and benchmarks."""

from augforge.phantom.anatomy import Traits
from augforge.phantom.hand import Hand, render_hand
from augforge.phantom.layout import PhantomSummary, write_phantom

__all__ = ["Hand", "PhantomSummary", "Traits", "render_hand", "write_phantom"]
