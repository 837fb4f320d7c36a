"""Recipe and table to tasks: no pixels, no files, no YAML."""
