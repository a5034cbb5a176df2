"""The daemon's view of a camera: its process, its newest frame, its state and its counts."""
