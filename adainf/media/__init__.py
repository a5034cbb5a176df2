"""Decoding of picture and video files to pixels."""

MOST_PIXELS = 178_956_970
"""The largest picture that is decoded, half a gigabyte in memory; Pillow too treats a larger one as an attack."""
