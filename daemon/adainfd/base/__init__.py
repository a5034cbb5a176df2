"""Helpers that any part of the daemon may use, and that use no part of it."""
