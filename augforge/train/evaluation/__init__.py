"""How good predictions are, and which errors they make."""
