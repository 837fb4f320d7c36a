"""From a trained network to masks at the image's own pixels."""
