"""Recipes: YAML becomes planning's steps."""

from __future__ import annotations

from augforge.recipe.recipe import Output, Recipe, Verdict, load_recipe

__all__ = ["Output", "Recipe", "Verdict", "load_recipe"]
