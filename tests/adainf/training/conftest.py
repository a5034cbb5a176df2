import pytest


@pytest.fixture(scope="session")
def network() -> tuple[str, ...]:
    """A small network with random weights, and batches that it learns from in no time."""
    named = ("--backbone", "cifar/resnet20", "--weights", "random", "--threads", "1")
    return (*named, "--resolutions", "16,24", "--ceiling", "0.5", "--batch", "4")
