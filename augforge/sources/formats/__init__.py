"""The formats that sources read: a module each, or a folder where one module would be too long."""
