"""The daemon as a service: what it tells systemd, operators and browsers."""
