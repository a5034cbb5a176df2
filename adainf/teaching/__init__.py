"""Own classes: heads on the networks' features, taught from few pictures."""
