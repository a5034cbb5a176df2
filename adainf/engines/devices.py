"""GPU discovery: whether there may be one, the device of a name, and remedies for an unusable one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from adainf.base.errors import InvalidInputError, UnavailableError, one_line

if TYPE_CHECKING:
    import torch

__all__ = ["check", "hidden", "index", "may_be_there", "place", "unusable", "used", "uuid"]

# The device nodes of NVIDIA's driver, a Jetson's (two), WSL's and AMD's.
_NODES = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")
_MEGABYTE = 1 << 20


def may_be_there() -> bool:
    """Return whether a GPU driver is loaded and not all GPUs are hidden, without PyTorch's seconds of import time."""
    return not hidden() and any(Path(node).exists() for node in _NODES)


def hidden() -> bool:
    """Return whether CUDA_VISIBLE_DEVICES hides every GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def check(name: str) -> None:
    """Check, without importing PyTorch, that a device name is valid and that such a device may exist.

    Valid names are `cpu`, `cuda` and `cuda:NUMBER`. Raises InvalidInputError on another name, UnavailableError if
    there can be no GPU.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise InvalidInputError(f"device {name!r}: must be 'cpu', 'cuda' or 'cuda:NUMBER'")
    if kind == "cuda" and not may_be_there():
        why = "no GPU driver is loaded; install it"
        if hidden():
            why = f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides every GPU; unset it"
        raise UnavailableError(f"device {name!r}: {why}, or leave `device` out")


def index(name: str | None) -> int:
    """Return the number in a device name, or 0 if it has none."""
    number = "" if name is None else name.partition(":")[2]
    return int(number) if number.isdecimal() else 0


def place(name: str) -> "torch.device":
    """Return PyTorch's device of this name; raises as `check` does, and UnavailableError if PyTorch cannot use it."""
    check(name)
    import torch

    if name == "cpu":
        return torch.device(name)
    if (why := unusable()) is not None:
        raise UnavailableError(f"device {name!r}: {why}")
    if index(name) >= (count := torch.cuda.device_count()):
        seen = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UnavailableError(f"device {name!r}: PyTorch sees {seen}; name one of these")
    return torch.device("cuda", index(name))


def unusable() -> str | None:
    """Return why PyTorch cannot use any GPU, with the remedy, or None if it can use one."""
    import torch

    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return (
            f"PyTorch {torch.__version__} is built without CUDA; "
            "install its CUDA build (pytorch.org names the index; on a Jetson NVIDIA's wheels)"
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        message = one_line(error, 200)
        if "too old" in message:
            return f"the driver is too old for PyTorch's CUDA {torch.version.cuda}; update it"
        return f"PyTorch cannot use it ({message.rstrip('.')}); `adainfd doctor` tells more"
    return None


@contextlib.contextmanager
def used(name: str, room: int = 0) -> Iterator["torch.device"]:
    """Check a device for first use inside the context; `room` bytes of its memory must be free.

    CUDA errors inside the context become UnavailableError. Raises as `place` does, and UnavailableError if the device
    has too little free memory.
    """
    import torch

    device = place(name)
    try:
        if device.type == "cuda" and (free := torch.cuda.mem_get_info(device)[0]) < room:
            raise UnavailableError(
                f"device {name!r}: {free // _MEGABYTE} MB of its memory are free, the model needs "
                f"{room // _MEGABYTE} MB; end other programs on it, or name another device"
            )
        yield device
    except RuntimeError as error:
        if "CUDA" not in str(error):
            raise
        message = one_line(error, 120)
        raise UnavailableError(
            f"device {name!r}: cannot be used ({message}); end other programs on it, or name another device"
        ) from None


def uuid(name: str | None) -> str:
    """Return the UUID, in NVML's format, of the GPU that PyTorch calls `name`; the GPU must be in use already."""
    import torch

    identifier: object = torch.cuda.get_device_properties(index(name)).uuid
    return f"GPU-{identifier}"
