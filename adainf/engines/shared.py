"""Weights of exported models in content-addressed files that the branches of a network share.

The runtime maps these files into memory, so sessions that use the same weights share one copy, which the system can
evict and read again.
"""

import hashlib
import os
from pathlib import Path

__all__ = ["set_out"]

_LEAST_BYTES = 1024


def set_out(model: Path, folder: Path) -> list[str]:
    """Move the model's weights of 1 KiB and more into files of their own; return the names of these files.

    The weight files are written to `folder`; the caller moves them to the model's final folder.
    """
    import onnx

    proto = onnx.load(os.fspath(model))
    names = []
    for weights in proto.graph.initializer:
        content = weights.raw_data
        if len(content) < _LEAST_BYTES:
            continue
        name = f"{hashlib.sha256(content).hexdigest()}.weights"
        (folder / name).write_bytes(content)
        onnx.external_data_helper.set_external_data(weights, name, offset=0, length=len(content))
        weights.ClearField("raw_data")
        names.append(name)
    model.write_bytes(proto.SerializeToString())
    return list(dict.fromkeys(names))
