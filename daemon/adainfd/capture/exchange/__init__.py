"""The exchange of reports, commands and pictures between the daemon and a camera process."""
