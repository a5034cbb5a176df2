"""Traces: the decisions about each frame, written for `adainfd replay`."""
