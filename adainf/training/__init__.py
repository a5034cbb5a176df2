"""Training, which turns a backbone into a run.

Each recipe is one module; all share sources, loop and checkpoints.
"""
