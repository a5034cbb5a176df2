"""The confinement of a camera's process: Landlock, seccomp and limits."""
