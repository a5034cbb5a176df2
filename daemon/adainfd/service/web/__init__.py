"""The HTTP server for the status page, metrics and health checks."""
