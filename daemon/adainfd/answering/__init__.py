"""From a frame to its answer: admission, inference, results, and what is done when memory runs out."""
