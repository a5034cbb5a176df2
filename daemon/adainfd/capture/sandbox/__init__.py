"""The sandbox of a camera process: Landlock, seccomp and resource limits."""
