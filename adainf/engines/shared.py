"""Weights of exported models as files named by their content, which branches of one network have in common.

The runtime maps such a file into memory: what several sessions use is there once, and the system may drop it and read
it again.
"""

import hashlib
import os
from pathlib import Path

__all__ = ["set_out"]

_LEAST_BYTES = 1024


def set_out(model: Path, folder: Path) -> list[str]:
    """Have the model in a file refer to weights that lie beside it; the names of those that it needs.

    They are written to `folder`, from where they are to be moved to where the model will lie.
    """
    import onnx

    loaded = onnx.load(os.fspath(model))
    names = []
    for weights in loaded.graph.initializer:
        content = weights.raw_data
        if len(content) < _LEAST_BYTES:
            continue
        name = f"{hashlib.sha256(content).hexdigest()}.weights"
        (folder / name).write_bytes(content)
        onnx.external_data_helper.set_external_data(weights, name, offset=0, length=len(content))
        weights.ClearField("raw_data")
        names.append(name)
    model.write_bytes(loaded.SerializeToString())
    return list(dict.fromkeys(names))
