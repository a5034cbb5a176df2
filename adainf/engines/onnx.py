"""The CPU engine: one ONNX Runtime session per branch."""

import errno
import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import one_line
from adainf.branch import REFERENCE, Branch
from adainf.engines.base import Exportable, FirstLook, NetworkPart, parts, parts_after_first
from adainf.engines.cache import ExportCache, cache_folder
from adainf.engines.processor import keeping_to, processor_name, usable_processors
from adainf.preprocessing import prepare
from adainf.schedulers.embedding import embedding

# ONNX Runtime reads this at import. Without it, 1.32 at least writes a device id below ~/.cache and sends telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

__all__ = ["OnnxEngine"]

_SPIN_MICROSECONDS = 100
# The runtime raises one of these if it cannot write a file; none carries the system's error code.
_NOT_WRITTEN = (failures.Fail, failures.InvalidProtobuf, failures.NoSuchFile, failures.RuntimeException)


class OnnxEngine:
    """Runs a family of networks in float32 on the CPU, with one session per branch in use.

    PyTorch's kernels repack a convolution's weights on every call, which costs as much as the convolution itself in a
    small branch. A session packs them once, folds batch norm and fuses across blocks.
    """

    name = "onnx"
    on_gpu = False
    sizes: tuple[int, ...] = (1,)

    def __init__(
        self,
        networks: Mapping[str, Exportable],
        *,
        threads: int | None = None,
        cache: Path | None = None,
        sessions: int = 32,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up the engine without loading a session.

        networks: by what their branches name them. threads: None uses every usable processor. cache: the folder of
        exports; None means `cache_folder`. sessions: how many branches stay loaded, each with its own packed weights;
        the least recently used is evicted. warn: called once for each network if the cache cannot be used.
        """
        self.device = processor_name()
        self.threads = threads or usable_processors()
        self.outlines = {key: network.outline for key, network in networks.items()}
        folder = cache or cache_folder()
        self._exports = {key: ExportCache(folder, network, self._optimise, warn) for key, network in networks.items()}
        # Pin threads only if each has a processor to itself: the first for this thread, the others for the helpers.
        processors = sorted(os.sched_getaffinity(0))
        self._processors = processors if 1 < self.threads == len(processors) else []
        self._most_sessions = sessions
        self._sessions: OrderedDict[Branch, onnxruntime.InferenceSession] = OrderedDict()
        self._parts: dict[tuple[str, NetworkPart], onnxruntime.InferenceSession] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the scores."""
        return self.outlines[REFERENCE].class_names

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Export, load and run each branch once, so that no frame waits for it.

        Raises UnsupportedExportError if the network cannot be exported.
        """
        for branch in branches:
            zeros = np.zeros((1, 3, branch.resolution, branch.resolution), np.float32)
            self.run([zeros] * pictures, [branch] * pictures)

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Load the branch if it is not loaded, which makes it ready; always return True."""
        if branch not in self._sessions:
            self.warm_up([branch], pictures)
        return True

    def make_parts_ready(self, resolution: int, network: str = REFERENCE) -> bool:
        """Return True: there is no background thread to wait for."""
        del resolution, network
        return True

    def close(self) -> None:
        """Release all sessions."""
        self._sessions.clear()
        self._parts.clear()

    def at_hand(self, branch: Branch) -> bool:
        """Return whether the export of `branch` is cached."""
        return self._exports[branch.network].has(branch)

    def parts_at_hand(self, resolution: int, network: str = REFERENCE) -> bool:
        """Return whether every part that `look` and `complete` may run is cached."""
        return all(map(self._exports[network].has, parts(resolution, self.outlines[network].droppable)))

    def prepare(
        self,
        picture: NDArray[np.uint8],
        resolution: int,
        network: str = REFERENCE,
        *,
        mirrored: bool = False,
        squeezed: bool = False,
    ) -> NDArray[np.float32]:
        """Convert a BGR picture (height, width, 3) to an input (1, 3, resolution, resolution)."""
        return prepare(picture, resolution, self.outlines[network].preprocessing, mirrored=mirrored, squeezed=squeezed)[
            None
        ]

    def run(self, inputs: Sequence[NDArray[np.float32]], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Return scores before softmax (pictures, classes), each picture along its own branch, one at a time.

        The first use of a branch exports it, which takes seconds, unless `warm_up` has run it.
        """
        scores = np.empty((len(inputs), len(self.class_names)), np.float32)
        for position, (images, branch) in enumerate(zip(inputs, branches, strict=True)):
            scores[position] = self._run(self._session(branch), {"images": images}, "scores")[0]
        return scores

    def features(self, inputs: Sequence[NDArray[np.float32]], branches: Sequence[Branch]) -> list[NDArray[np.float32]]:
        """Return each picture's pooled features (width,) along its own branch; see `run`."""
        return [
            self._run(self._session(branch), {"images": images}, "features")[0]
            for images, branch in zip(inputs, branches, strict=True)
        ]

    def look(self, prepared: NDArray[np.float32], resolution: int, network: str = REFERENCE) -> FirstLook:
        """Run a prepared picture (1, 3, resolution, resolution) through the first block of a network.

        The first use of a part exports it, here and in `complete`, which takes seconds.
        """
        hidden = self._through(network, NetworkPart(resolution, 0, 1), prepared)
        return FirstLook(embedding(hidden)[0], hidden, resolution, network)

    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Return scores before softmax (classes,) for a picture from `look`; the first block has run already."""
        hidden = seen.hidden
        for start, stop in parts_after_first(self.outlines[seen.network].droppable):
            hidden = self._through(seen.network, NetworkPart(seen.resolution, start, stop, keep[start]), hidden)
        scores: NDArray[np.float32] = hidden[0]
        return scores

    def _through(self, network: str, part: NetworkPart, before: NDArray[np.float32]) -> NDArray[np.float32]:
        session = self._parts.get((network, part))
        if session is None:
            session = self._parts[network, part] = self._load(self._exports[network].model(part))
        return self._run(session, {"before": before}, "after")

    def _run(
        self, session: onnxruntime.InferenceSession, feed: dict[str, NDArray[np.float32]], output: str
    ) -> NDArray[np.float32]:
        result: NDArray[np.float32]
        # A wake-up from a camera's process may move this thread to a helper's processor, where the two would alternate.
        with keeping_to(self._processors[:1]):
            (result,) = session.run([output], feed)
        return result

    def _session(self, branch: Branch) -> onnxruntime.InferenceSession:
        if branch not in self._sessions:
            self._sessions[branch] = self._load(self._exports[branch.network].model(branch))
            while len(self._sessions) > self._most_sessions:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(branch)
        return self._sessions[branch]

    def _load(self, model: Path | bytes) -> onnxruntime.InferenceSession:
        """Return a session for a path to an optimised model, or for the bytes of one that is not optimised."""
        options = self._options()
        if isinstance(model, Path):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Pass the path, since the session would keep a copy of the file's bytes.
        source = model if isinstance(model, bytes) else os.fspath(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def _optimise(self, model: bytes, path: Path) -> None:
        options = self._options()
        options.optimized_model_filepath = os.fspath(path)
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _NOT_WRITTEN as error:
            # If the model itself is invalid, loading it without optimisation fails again and reports that.
            raise OSError(errno.EIO, one_line(error, 120)) from None

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Threads spin between operators, but not between frames, where they would compete with other processes.
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_MICROSECONDS))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._processors:
            # Without affinities, a helper that wakes after a pause may share the processor of the thread that waits
            # for it, and gains nothing (benchmarks/reports/performance.md). ONNX Runtime counts processors from 1.
            helpers = ";".join(str(processor + 1) for processor in self._processors[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", helpers)
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        return options


@functools.cache
def _share_arena() -> None:
    """Share one arena between the sessions of this process; an arena per session would cost five megabytes a branch.

    In glibc's heap, small unrelated blocks fragment the memory freed by activations, so later activations need more.
    """
    arena = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    processor = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, onnxruntime.OrtMemType.DEFAULT)
    as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})  # the default doubles every extension
    onnxruntime.create_and_register_allocator(processor, as_requested)
