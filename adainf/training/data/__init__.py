"""Training data: sources, and the views drawn from them."""
