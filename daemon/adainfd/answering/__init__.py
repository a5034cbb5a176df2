"""From frame to answer: admission, inference, results, and backing off when GPU memory runs out."""
