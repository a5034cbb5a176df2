"""What is said of a package that is not installed."""

import sys
from importlib import metadata

import pytest

from adainf.process import installation


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    required = [
        "open-clip-torch>=2.30",
        "pyzmq>=26",
        "richer>=1",
        "rich>=13.7",
        "scikit-video==1.1.11; extra == 'demo'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: required)
    monkeypatch.setattr(installation, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "executable", "/opt/a b/bin/python")


@pytest.mark.parametrize(
    ("module", "package", "required"),
    [
        ("rich.table", "rich", "'rich>=13.7'"),
        ("zmq", "pyzmq", "'pyzmq>=26'"),
        ("open_clip", "open-clip-torch", "'open-clip-torch>=2.30'"),
        ("tor", "tor", "tor"),
    ],
)
def test_the_command_names_what_we_require(module: str, package: str, required: str) -> None:
    said = installation.lacking(ModuleNotFoundError(name=module))
    assert said == f"{package} is not installed: '/opt/a b/bin/python' -m pip install {required}"


@pytest.mark.parametrize("error", [ModuleNotFoundError(name="adainfd.doctor"), ImportError(name="adainfd")])
def test_the_client_alone_lacks_the_rest(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    assert installation.lacking(error) is None
    monkeypatch.setattr(metadata, "version", lambda _: "0.1.0+client")
    said = installation.lacking(error)
    assert said is not None
    assert said.endswith("this needs all of adainf: '/opt/a b/bin/python' -m pip install CHECKOUT")
