"""A relay that publishes the streams of many boxes at one address."""
