"""Models from the hub, from fetched folders and from bundles."""
