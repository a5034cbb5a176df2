"""How the configured model is opened."""

from pathlib import Path

import pytest
from adainfd.config.configuration import Configuration
from adainfd.model.selection import opening, read_profile
from daemons import Network

from adainf.engines.processor import processor_name
from adainf.profile import BranchTime, Profile, Timings


def timed(profile: Profile, engine: str, milliseconds: float, device: str = "") -> Profile:
    times = {str(profile.space.full): BranchTime(p50_ms=milliseconds, p95_ms=milliseconds)}
    device = device or processor_name()
    return profile.with_timings(Timings(device=device, engine=engine, threads=3, measured="", times=times))


@pytest.mark.parametrize(("torch_ms", "taken"), [(4.0, "torch"), (6.0, None)])
def test_the_engine_that_was_measured_to_be_faster_is_taken(
    network: Network, tmp_path: Path, torch_ms: float, taken: str | None
) -> None:
    configuration = Configuration.read(network.configuration(tmp_path / "c.toml", bind="ipc:///nowhere"))
    model = configuration.model.model_copy(update={"threads": 3})
    configuration = configuration.model_copy(update={"model": model})
    profile = timed(read_profile(model).model_copy(update={"timings": ()}), "onnx", 5.0)
    assert opening(configuration, timed(profile, "torch", 1.0, device="another")).name is None
    both = timed(profile, "torch", torch_ms)
    assert opening(configuration, both).name == taken
    chosen = configuration.model_copy(update={"model": model.model_copy(update={"engine": "onnx"})})
    assert opening(chosen, both).name == "onnx"
