"""Recipes: what a step of training computes."""
