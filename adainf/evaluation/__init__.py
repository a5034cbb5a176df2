"""Accuracy and latency of a backbone's branches: calibration, timing, and evaluation of a profile."""
