"""The daemon's configuration file and the checks of its settings."""
