"""A camera as the daemon sees it: its process, its newest frame, its state and its counts."""
