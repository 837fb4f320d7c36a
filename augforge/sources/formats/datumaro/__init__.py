"""Data sets in the formats that Datumaro reads."""
