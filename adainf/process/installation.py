"""Missing packages, and the command that installs them."""

import re
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec

__all__ = ["lacking"]

_OURS = ("adainf", "adainfd")
_CLIENT = "+client"
"""Version suffix of the client-only package (daemon/client/pyproject.toml), which omits most of these modules."""

# Required packages whose modules have another name.
_BROUGHT_BY = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "open_clip": "open-clip-torch",
    "paho": "paho-mqtt",
    "prometheus_client": "prometheus-client",
    "pynvml": "nvidia-ml-py",
    "zmq": "pyzmq",
}


def lacking(error: ImportError) -> str | None:
    """Return a line naming the missing package and how to install it; None if the error has another cause."""
    module = (error.name or "").partition(".")[0]
    install = shlex.join([sys.executable, "-m", "pip", "install"])
    if module in _OURS:
        if not metadata.version("adainf").endswith(_CLIENT):
            return None
        return f"only the client is installed here, and this needs all of adainf: {install} CHECKOUT"
    if not isinstance(error, ModuleNotFoundError) or not module or module in sys.stdlib_module_names:
        return None
    if find_spec(module) is not None:  # the package is installed, but a part of it is missing
        return None
    package = _BROUGHT_BY.get(module, module)
    return f"{package} is not installed: {install} {shlex.quote(_requirement(package))}"


def _requirement(package: str) -> str:
    """Return adainf's requirement of a package, without its marker; the bare name if there is none."""
    required = [line.partition(";")[0].strip() for line in metadata.requires("adainf") or ()]
    name = re.compile(re.sub("[-_.]+", "[-_.]+", package) + r"(?![\w.-])", re.IGNORECASE)
    return next((line for line in required if name.match(line)), package)
