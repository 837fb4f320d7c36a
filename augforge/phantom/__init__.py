"""Made hand radiographs in a segmentation contest's layout: data for the demo, the tests and the benchmarks."""

from augforge.phantom.anatomy import Traits
from augforge.phantom.hand import Hand, render_hand
from augforge.phantom.layout import PhantomSummary, write_phantom

__all__ = ["Hand", "PhantomSummary", "Traits", "render_hand", "write_phantom"]
