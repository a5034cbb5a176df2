"""Research: schedulers and evaluations used by studies only."""
