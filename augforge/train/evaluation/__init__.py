"""How good predictions are, and where they go wrong."""
