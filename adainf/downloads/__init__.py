"""Weights and networks from elsewhere: the hub, fetched folders, and bundles."""
