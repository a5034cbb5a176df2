"""adainfd: the daemon that recognises what cameras see within a compute budget."""
