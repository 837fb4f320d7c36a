"""Recipes: YAML becomes planning's steps."""
