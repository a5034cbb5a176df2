"""A test convolution on a device, in half precision as for frames: `python -m adainfd.doctor.convolution cuda`."""

import sys

from adainf.base.errors import AdainfError
from adainf.engines import devices

__all__ = ["main"]


def main(device: str) -> int:
    """Run the convolution and print the device that computed it; return the exit status."""
    import torch
    from torch.nn import functional

    try:
        place = devices.place(device)
        images = torch.ones(1, 8, 16, 16, dtype=torch.float16, device=place)
        sums = functional.conv2d(images, torch.ones(8, 8, 3, 3, dtype=torch.float16, device=place))
        found = set(sums.flatten().tolist())
    except (AdainfError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    if found != {72.0}:
        print(f"it computes {sorted(found)} instead of 72", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else device
    print(f"{name} convolves; PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
