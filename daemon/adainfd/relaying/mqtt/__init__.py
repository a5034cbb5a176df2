"""A relay to an MQTT broker."""
