"""What is implausible about a listed source, found from facts that the listing has already.

Modules: `classes` (tables of classes and names), `leaving` (files and folders that nothing reads), `groups` (what the
names say of groups), `outlines` (where shapes lie), `splits` (what the splits share, and how large they come out).
"""
