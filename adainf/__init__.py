"""adainf: pretrained vision models whose compute follows a budget."""

import os
from importlib.metadata import version

__version__ = version("adainf")

MOST_PIXELS = 178_956_970
"""Of a picture: what Pillow too takes for an attack above, half a gigabyte as it is decoded."""

# OpenCV reads it as it is loaded. It knows formats whose size nothing else tells before they are decoded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
