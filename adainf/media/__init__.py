"""Pictures and videos: from files to pixels."""

MOST_PIXELS = 178_956_970
"""Of a picture: what Pillow too takes for an attack above, half a gigabyte as it is decoded."""
