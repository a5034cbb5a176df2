"""Turn the answers to single frames into what changes in a view: events of labels, and states. Pure."""
