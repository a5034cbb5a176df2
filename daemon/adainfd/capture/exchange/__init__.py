"""How the daemon and a camera's process exchange reports, commands and pictures."""
