"""Building: wires source, plan, cache and store together."""
