"""From annotations to bit-planes: polygons, run lengths, mask images and what their values mean."""
