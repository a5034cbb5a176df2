"""Recipes: the computation of one training step."""
