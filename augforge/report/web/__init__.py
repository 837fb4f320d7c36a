"""Pages served to one person on this machine: who may ask, and how the server starts and stops."""
