"""Helpers that any part of the library may use and that use no part of it."""
