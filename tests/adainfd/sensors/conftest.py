"""A GPU that NVML's real Python package speaks to, and folders that look like / to a sensor."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

HOST_NUMBERS = "pid:[4026531836]"
BuildDriver = Callable[..., Path]


class FakeGpu:
    """The GPU of fake_nvml.c and a process that reads it."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "gpu"
        link = folder / "proc" / "self" / "ns" / "pid"
        link.parent.mkdir(parents=True)
        link.symlink_to(HOST_NUMBERS)
        self.tell("count 0")
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML": str(self._state)}
        del environment["CUDA_VISIBLE_DEVICES"]  # which hides every GPU from the tests
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("gpu_reader.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, *lines: str) -> None:
        """What the driver answers from now on, in the form that fake_nvml.c describes."""
        new = self._state.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(self._state)

    def _do(self, command: str, **arguments: Any) -> Any:
        self._process.stdin.write(json.dumps({command: arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the reading process ended with {self._process.wait(5)}"
        return json.loads(answer)

    def open(
        self, *own: int, proc: Path | None = None, environment: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """A new sensor of the GPU; the one before is closed."""
        self._do("open", own=own, proc=str(proc or self.folder / "proc"), environment=environment or {}, **more)

    def watch(self, device: str) -> None:
        """The sensor is to read another GPU."""
        self._do("watch", device=device)

    def read(self) -> dict[str, Any]:
        """`values`, `lost` and `found` of a reading."""
        return self._do("read")

    def close(self) -> None:
        """Close the sensor."""
        self._do("stop")

    def in_use(self) -> bool:
        """Whether somebody in the reading process has opened the driver."""
        return self._do("in_use")

    def start(self, *own: int) -> None:
        """All sensors, in their thread."""
        self._do("start", own=own, root=str(self.folder))

    def latest(self) -> dict[str, Any]:
        """The latest reading of all sensors, and in `told` what they said to be lost."""
        return self._do("latest")

    def end(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def build_driver(tmp_path_factory: pytest.TempPathFactory) -> BuildDriver:
    """Compile fake_nvml.c, with the names given defined, to a library that pynvml finds."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler for the fake NVML")

    def build(*definitions: str) -> Path:
        library = tmp_path_factory.mktemp("driver") / "libnvidia-ml.so.1"
        flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        source = Path(__file__).with_name("fake_nvml.c")
        subprocess.run(
            [compiler, *flags, *(f"-D{name}" for name in definitions), "-o", library, source],
            check=True,
            timeout=60,
        )
        return library

    return build


@pytest.fixture(scope="session")
def gpu_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], FakeGpu]]:
    """The fake GPU that a library drives."""
    started: list[FakeGpu] = []

    def start(library: Path) -> FakeGpu:
        started.append(FakeGpu(library, tmp_path_factory.mktemp("gpu")))
        return started[-1]

    yield start
    for gpu in started:
        gpu.end()


@pytest.fixture(scope="session")
def gpu(build_driver: BuildDriver, gpu_of: Callable[[Path], FakeGpu]) -> FakeGpu:
    """The fake GPU of a driver of today."""
    return gpu_of(build_driver())


class FakeRoot:
    """A folder that looks like / to a sensor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: Mapping[str, object]) -> None:
        """files: content by path below the folder."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    def replace_by_folder(self, name: str) -> None:
        """Make a file one that cannot be read, for root neither."""
        (self.folder / name).unlink()
        (self.folder / name).mkdir()


@pytest.fixture
def root(tmp_path: Path) -> FakeRoot:
    """An empty one."""
    return FakeRoot(tmp_path)
