"""Studies: schedulers and evaluations that nothing else uses."""
