"""One frame along the full branch: ours against what else would run the same network on this processor.

    python benchmarks/engines.py [--only NETWORK] [--rounds 20] [--write]

ONNX Runtime runs the whole exported model as its defaults have it, OpenVINO the same file for latency, PyTorch the
modules as they are and compiled. In each round every contender answers a dozen frames in a row, in shuffled order, and
the processors rest in between. A contender that is not installed is left out and named.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
import torch
from numpy.typing import NDArray
from tables import Figure, Table, finish, limits

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options
from adainf.branch import REFERENCE
from adainf.engines.exports import Loaded, export
from adainf.engines.onnx import OnnxEngine
from adainf.engines.processor import usable_processors

NETWORKS = ("timm/tf_efficientnet_lite0", "cifar/resnet18", "openclip/ViT-B-32")
OURS, PEER = "adainf, onnx", "ONNX Runtime"
_PAGE = "performance.md"
_LABELS = ("person", "dog", "cat", "car", "bicycle", "bus", "parcel", "ladder", "bird", "empty doorway")
_FRAMES, _DROPPED = 12, 3
_REST_SECONDS = 0.05

Pictures = NDArray[np.float32]
Run = Callable[[Pictures], Pictures]


def contenders(backbone: Backbone, cache: Path) -> Iterator[tuple[str, Run]]:
    """Yield each contender's name, and a function from a picture (1, 3, side, side) to its scores."""
    full = backbone.full
    engine = OnnxEngine({REFERENCE: Loaded(backbone)}, cache=cache)
    yield OURS, lambda pictures: engine.run([pictures], [full])
    model = export(backbone, full)
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    yield PEER, lambda pictures: session.run(None, {"images": pictures})[0]
    if find_spec("openvino") is not None:
        yield "OpenVINO", _openvino(model, "f32")
        # OpenVINO's default on CPUs that support it; its scores differ from float32, so it is no like-for-like peer.
        if "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
            yield "OpenVINO, bfloat16", _openvino(model, "bf16")
    torch.set_num_threads(usable_processors())
    yield "PyTorch, eager", _torch(backbone)
    if which("g++") is not None:
        yield "PyTorch, compiled", _torch(_compiled(backbone))


def _openvino(model: bytes, precision: str) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda pictures: np.array(request.infer({0: pictures})[0])


def _torch(network: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    @torch.inference_mode()
    def run(pictures: Pictures) -> Pictures:
        scores: Pictures = network(torch.from_numpy(pictures)).numpy()
        return scores

    return run


def _compiled(backbone: Backbone) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch._inductor.config

    torch._inductor.config.freezing = True  # noqa: SLF001
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(backbone)
    return compiled


def measure(name: str, rounds: int) -> tuple[list[tuple[str, ...]], list[Figure]]:
    """Return a network's rows and figures."""
    labels = _LABELS if name.startswith("openclip/") else ()
    backbone = backbones.load(name, Options(weights=RANDOM, labels=labels))
    side = backbone.native_resolution
    pictures = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    order = random.Random(0)  # noqa: S311
    with tempfile.TemporaryDirectory() as cache:
        runs = dict(contenders(backbone, Path(cache)))
        reference = _torch(backbone)(pictures)
        difference = float(np.abs(runs[OURS](pictures) - reference).max())
        for run in runs.values():  # some contenders compile at the first frame
            run(pictures)
        medians: dict[str, list[float]] = {contender: [] for contender in runs}
        for _ in range(rounds):
            for contender in order.sample(sorted(runs), len(runs)):
                time.sleep(_REST_SECONDS)
                times = [_milliseconds(runs[contender], pictures) for _ in range(_FRAMES)]
                medians[contender].append(statistics.median(times[_DROPPED:]))
    rows = []
    for contender, times in medians.items():
        low, *_, high = statistics.quantiles(times, n=10)
        against = statistics.median(other / own for other, own in zip(times, medians[OURS], strict=True))
        rows.append((name, contender, f"{statistics.median(times):.2f} ({low:.2f}–{high:.2f})", f"{against:.2f}"))
    ratio = statistics.median(own / peer for own, peer in zip(medians[OURS], medians[PEER], strict=True))
    return rows, [
        Figure(f"{name}: our time / ONNX Runtime's", ratio, 1.05),
        Figure(f"{name}: scores apart from PyTorch's, at most", difference, 1e-4, form="{:.0e}"),
    ]


def _milliseconds(run: Run, pictures: Pictures) -> float:
    started = time.perf_counter()
    run(pictures)
    return 1e3 * (time.perf_counter() - started)


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    figures: list[Figure] = []
    for name in (arguments.only,) if arguments.only else NETWORKS:
        of_network, limited = measure(name, arguments.rounds)
        rows += of_network
        figures += limited
    packages = [package for package in ("onnxruntime", "openvino", "torch") if find_spec(package) is not None]
    missing = [name for name, found in (("openvino", find_spec("openvino")), ("g++", which("g++"))) if not found]
    more = "; " + ", ".join(f"{package} {version(package)}" for package in packages)
    if missing:
        more += f"; not installed and so left out: {', '.join(missing)}"
    table = Table("Medians over rounds, 10th to 90th percentile", ("network", "", "ms a frame", "to ours"), rows)
    return finish("engines.py", [table, limits(figures)], _PAGE if arguments.write else None, more)


if __name__ == "__main__":
    sys.exit(main())
