"""The formats that sources read: one module each, or a package if one module would be too long."""
