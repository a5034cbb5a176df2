"""Own classes: what a file of `adainf teach` holds, and the label of what looks like none of them."""
