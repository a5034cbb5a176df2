"""What smaller inputs should see of a picture: top-1 and loss with all blocks, for each zoom and resolution.

    python benchmarks/views.py --images FOLDER [--resolutions 112,128,160,192] [--limit N] [--write]

FOLDER has a folder a class. This is the choice that `adainf calibrate` makes, seen one resolution at a time.
"""

import argparse
import sys
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
import torch
from tables import Table, finish
from torch.nn import functional

from adainf.backbones import Options
from adainf.backbones.defaults import default_weights
from adainf.branch import REFERENCE, Branch
from adainf.engines.opening import NetworkSource
from adainf.evaluation.subject import Subject, open_subject
from adainf.media.images import Part

_PAGE = "calibration.md"
_BACKBONE = "timm/tf_efficientnet_lite0"
_ZOOMS = (0.0, 0.2, 0.35, 0.5)


def seen(subject: Subject, resolution: int, zoom: float) -> tuple[float, float]:
    """Return top-1 and mean cross-entropy (nats) of all blocks at a resolution and zoom."""
    subject.zoom_by(REFERENCE, zoom)
    branch = Branch(resolution, subject.full.keep)
    right, loss = 0, 0.0
    assert subject.labels is not None
    for rows, pictures in subject.batches():
        scores = subject.scores(pictures, [branch])[branch]
        truth = torch.from_numpy(subject.labels[rows])
        right += int((scores.argmax(dim=1) == truth).sum())
        loss += float(functional.cross_entropy(scores, truth, reduction="sum"))
    return right / len(subject.paths), loss / len(subject.paths)


def main() -> int:
    """Run the benchmark, print the table, write it if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--resolutions", default="112,128,160,192")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--write", action="store_true", help=f"put the table into {_PAGE}")
    arguments = parser.parse_args()
    network = NetworkSource("lite0", _BACKBONE, Options(default_weights(_BACKBONE)))
    subject = open_subject(
        {REFERENCE: network}, arguments.images, labelled=True, part=Part(), limit=arguments.limit, seed=0
    )
    rows = []
    for resolution in map(int, arguments.resolutions.split(",")):
        found = [seen(subject, resolution, zoom) for zoom in _ZOOMS]
        best = int(np.argmin([loss for _, loss in found]))
        cells = [f"{top1:.1%} ({loss:.2f})" for top1, loss in found]
        rows.append((f"{resolution} px", *cells, f"{_ZOOMS[best]:g}"))
    headings = ("all blocks", *(f"zoom {zoom:g}" for zoom in _ZOOMS), "lowest loss")
    table = Table(f"Top-1 (cross-entropy) on {len(subject.paths)} pictures", headings, rows)
    return finish("views.py", [table], _PAGE if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
