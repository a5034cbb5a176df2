"""What is not installed here, and the command that adds it."""

import re
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec

__all__ = ["lacking"]

_OURS = ("adainf", "adainfd")
_CLIENT = "+client"
"""Ends the version where daemon/client/pyproject.toml was installed, which leaves out most modules of ours."""

# Of what we require: modules that are called otherwise than the package that brings them.
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
    """The line that tells which package is missing and how it is added; None where that is not what the error is."""
    module = (error.name or "").partition(".")[0]
    install = shlex.join([sys.executable, "-m", "pip", "install"])
    if module in _OURS:
        if not metadata.version("adainf").endswith(_CLIENT):
            return None
        return f"only the client is installed here, and this needs all of adainf: {install} CHECKOUT"
    if not isinstance(error, ModuleNotFoundError) or not module or module in sys.stdlib_module_names:
        return None
    if find_spec(module) is not None:  # it is there, and lacks a part
        return None
    package = _BROUGHT_BY.get(module, module)
    return f"{package} is not installed: {install} {shlex.quote(_requirement(package))}"


def _requirement(package: str) -> str:
    """What we require of a package, without the condition; its name where we require nothing."""
    required = [line.partition(";")[0].strip() for line in metadata.requires("adainf") or ()]
    name = re.compile(re.sub("[-_.]+", "[-_.]+", package) + r"(?![\w.-])", re.IGNORECASE)
    return next((line for line in required if name.match(line)), package)
