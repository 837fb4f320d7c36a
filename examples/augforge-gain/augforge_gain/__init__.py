"""An op and a source for augforge."""
