"""YAML files: read with line numbers, checked against models, changed from the command line, written."""

from __future__ import annotations

from augforge.yamlfile.document import KeyPath, YamlFile
from augforge.yamlfile.flowing import flow, quote
from augforge.yamlfile.overriding import override
from augforge.yamlfile.parsing import MAX_BYTES, dump_yaml, parse_scalar, parse_yaml, read_yaml, read_yaml_text

__all__ = [
    "MAX_BYTES",
    "KeyPath",
    "YamlFile",
    "dump_yaml",
    "flow",
    "override",
    "parse_scalar",
    "parse_yaml",
    "quote",
    "read_yaml",
    "read_yaml_text",
]
