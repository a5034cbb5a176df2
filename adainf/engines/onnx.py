"""The engine for the CPU: each branch as a whole in a session of ONNX Runtime."""

import errno
import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import one_line
from adainf.branch import Branch
from adainf.engines.base import Exportable, FirstLook, NetworkPart, parts, parts_after_first
from adainf.engines.cache import ExportCache, cache_folder
from adainf.engines.processor import keeping_to, processor_name, usable_processors
from adainf.preprocessing import prepare
from adainf.profile import WeightSet
from adainf.schedulers.embedding import embedding

# Read once at import: at least 1.32 otherwise writes a device id below ~/.cache and reports to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

__all__ = ["OnnxEngine"]

_SPIN_MICROSECONDS = 100
# What the runtime raises where it cannot write a file; it names no reason of the system's.
_NOT_WRITTEN = (failures.Fail, failures.InvalidProtobuf, failures.NoSuchFile, failures.RuntimeException)


class OnnxEngine:
    """Runs a backbone in float32 on the CPU, a session for each branch that is used.

    PyTorch's own kernels repack a convolution's weights at every call, which costs as much as the convolution where a
    branch is small; a session packs them once, folds batch norm and fuses across blocks.
    """

    name = "onnx"
    on_gpu = False
    sizes: tuple[int, ...] = (1,)

    def __init__(
        self,
        network: Exportable,
        *,
        adapted: Exportable | None = None,
        runs_adapted: Collection[Branch] = (),
        threads: int | None = None,
        cache: Path | None = None,
        sessions: int = 32,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """adapted: the network with another set of weights, and `runs_adapted` the branches that run with it.
        threads: None takes every usable processor. cache: the folder of the exports, None takes the user's.

        sessions: how many are held at once, each with its own copy of the weights; the one not used for longest goes.
        warn: told once where the cache cannot be written.
        """
        self.device = processor_name()
        self.threads = threads or usable_processors()
        self.outline = network.outline
        self.adapted_outline = None if adapted is None else adapted.outline
        self.preprocessing = network.outline.preprocessing
        self.class_names = network.outline.class_names
        folder = cache or cache_folder()
        self._exports = ExportCache(folder, network, self._optimise, warn)
        self._adapted = frozenset(runs_adapted if adapted is not None else ())
        self._adapted_exports = self._exports if adapted is None else ExportCache(folder, adapted, self._optimise, warn)
        # Where each thread has a processor: its own, and of the rest each helper one.
        processors = sorted(os.sched_getaffinity(0))
        self._processors = processors if 1 < self.threads == len(processors) else []
        self._most_sessions = sessions
        self._sessions: OrderedDict[Branch, onnxruntime.InferenceSession] = OrderedDict()
        self._parts: dict[tuple[NetworkPart, WeightSet], onnxruntime.InferenceSession] = {}

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Export, load and run each branch once, so that none of it happens on a frame's way.

        Raises UnsupportedExportError where the network cannot be exported.
        """
        for branch in branches:
            zeros = np.zeros((1, 3, branch.resolution, branch.resolution), np.float32)
            self.run([zeros] * pictures, [branch] * pictures)

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Load the branch where it is not; it is ready then."""
        if branch not in self._sessions:
            self.warm_up([branch], pictures)
        return True

    def make_parts_ready(self, resolution: int, weights: WeightSet) -> bool:
        """There is no thread that makes them."""
        del resolution, weights
        return True

    def close(self) -> None:
        """Let go of all sessions."""
        self._sessions.clear()
        self._parts.clear()

    def at_hand(self, branch: Branch) -> bool:
        """Whether the export of `branch` lies in the cache."""
        return (self._adapted_exports if branch in self._adapted else self._exports).has(branch)

    def parts_at_hand(self, resolution: int, weights: WeightSet) -> bool:
        """Whether all that `look` and `complete` may run lies in the cache."""
        return all(map(self._exports_of(weights).has, parts(resolution, self.outline.droppable)))

    def prepare(self, picture: NDArray[np.uint8], resolution: int, *, mirrored: bool = False) -> NDArray[np.float32]:
        """The input (1, 3, resolution, resolution) of a BGR picture (height, width, 3)."""
        return prepare(picture, resolution, self.preprocessing, mirrored=mirrored)[None]

    def run(self, inputs: Sequence[NDArray[np.float32]], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Scores before softmax (pictures, classes), each picture along its own branch, one after the other.

        A branch met for the first time is exported now: seconds, unless `warm_up` has seen it.
        """
        scores = np.empty((len(inputs), len(self.class_names)), np.float32)
        for position, (images, branch) in enumerate(zip(inputs, branches, strict=True)):
            scores[position] = self._run(self._session(branch), {"images": images})[0]
        return scores

    def look(self, prepared: NDArray[np.float32], resolution: int, weights: WeightSet) -> FirstLook:
        """A prepared picture (1, 3, resolution, resolution) after the first block, with this set of weights.

        A part met for the first time is exported now, here and in `complete`: seconds.
        """
        hidden = self._through(NetworkPart(resolution, 0, 1), weights, prepared)
        return FirstLook(embedding(hidden)[0], hidden, resolution, weights)

    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Scores before softmax (classes,) of a picture that was looked at, along these blocks; the first has run."""
        hidden = seen.hidden
        for start, stop in parts_after_first(self.outline.droppable):
            hidden = self._through(NetworkPart(seen.resolution, start, stop, keep[start]), seen.weights, hidden)
        scores: NDArray[np.float32] = hidden[0]
        return scores

    def _through(self, part: NetworkPart, weights: WeightSet, before: NDArray[np.float32]) -> NDArray[np.float32]:
        session = self._parts.get((part, weights))
        if session is None:
            session = self._parts[part, weights] = self._load(self._exports_of(weights).model(part))
        return self._run(session, {"before": before})

    def _run(self, session: onnxruntime.InferenceSession, given: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        result: NDArray[np.float32]
        # Woken by a camera's process, this thread may come to lie on a helper's processor, and take turns with it.
        with keeping_to(self._processors[:1]):
            (result,) = session.run(None, given)
        return result

    def _exports_of(self, weights: WeightSet) -> ExportCache:
        return self._adapted_exports if weights == "adapted" else self._exports

    def _session(self, branch: Branch) -> onnxruntime.InferenceSession:
        if branch not in self._sessions:
            exports = self._adapted_exports if branch in self._adapted else self._exports
            self._sessions[branch] = self._load(exports.model(branch))
            while len(self._sessions) > self._most_sessions:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(branch)
        return self._sessions[branch]

    def _load(self, model: Path | bytes) -> onnxruntime.InferenceSession:
        """A session of a file that is optimised already, or of a model that is not."""
        options = self._options()
        if isinstance(model, Path):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Of a file's bytes it would keep a copy.
        source = model if isinstance(model, bytes) else os.fspath(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def _optimise(self, model: bytes, path: Path) -> None:
        options = self._options()
        options.optimized_model_filepath = os.fspath(path)
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _NOT_WRITTEN as error:
            # A model that is wrong itself fails again where it is loaded as it is.
            raise OSError(errno.EIO, one_line(error, 120)) from None

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Between two operators a thread waits awake, but not from frame to frame: beside others it would fight them.
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_MICROSECONDS))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._processors:
            # Woken after a pause, a helper is otherwise put beside the thread that waits for it, and no help
            # (docs/performance.md). Counted from 1.
            helpers = ";".join(str(processor + 1) for processor in self._processors[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", helpers)
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        return options


@functools.cache
def _share_arena() -> None:
    """One arena for the sessions of this process; one for each would cost five megabytes a branch.

    In glibc's heap, small blocks of others come to lie where activations were, and the next ones need new memory.
    """
    arena = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    processor = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, onnxruntime.OrtMemType.DEFAULT)
    as_requested = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})  # else each extension is twice the last
    onnxruntime.create_and_register_allocator(processor, as_requested)
