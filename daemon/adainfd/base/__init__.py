"""Helpers for every part of the daemon, without dependencies on any of them."""
