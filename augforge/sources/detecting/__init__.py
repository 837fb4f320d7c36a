"""Finding out in which format a folder is, and which options of that format read it."""
