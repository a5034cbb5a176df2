"""The commands of `adainfd`."""
