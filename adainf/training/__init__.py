"""Training: what makes a run of a backbone. A recipe is one module; sources, loop and checkpoints serve them all."""
