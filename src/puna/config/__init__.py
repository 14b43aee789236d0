"""Recipes: their sections, how they are read and how they are shown."""
