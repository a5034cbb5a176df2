"""Traces: the signals and decisions of each frame, recorded for `adainfd replay`."""
