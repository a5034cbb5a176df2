"""Camera capture: one subprocess per camera, which keeps only the newest frames."""
