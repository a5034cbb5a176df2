"""`adainf fetch` against a hub of the test's own, which speaks as the real one does."""

import hashlib
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from families import beside
from forking import Zygote
from networks import stir
from profiles import SMALL, profile

from adainf.profile import Network

BACKBONE = "timm/test_vit"
REPOSITORY = "timm/test_vit.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"

Adainf = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import timm
    from safetensors.torch import save_file

    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(stir(timm.create_model("test_vit")).state_dict(), file)
    return file.read_bytes()


@pytest.fixture
def hub(weights: bytes) -> Iterator[str]:
    """Its address."""
    known = {f"/{REPOSITORY}/resolve/main/model.safetensors": weights}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = known.get(self.path.replace(COMMIT, "main"))
            self.send_response(200 if content is not None or self.path == "/" else 404)
            body = content or b""
            if content is None and self.path != "/":
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """It has imported what takes seconds and knows no hub: the hub's package reads its settings when it is imported."""
    zygote = Zygote(os.environ, ("torch", "torchvision"))
    yield zygote
    zygote.close()


@pytest.fixture
def adainf(zygote: Zygote, tmp_path: Path) -> Adainf:
    """Run a command on a box that has never asked a hub."""

    def run(*arguments: str | Path, models: Path, hub: str = NOWHERE) -> "subprocess.CompletedProcess[str]":
        settings = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub, "ADAINF_MODELS": str(models)}
        return zygote.run(["adainf", *map(str, arguments)], tmp_path, **settings)

    return run


LOAD = f"""
from adainf.backbones import Options, load
from adainf.backbones.weights import fingerprint
print(fingerprint(load({BACKBONE!r}, Options())))
"""


@pytest.fixture
def loaded(zygote: Zygote, tmp_path: Path) -> Callable[[Path], str]:
    """The fingerprint of what a start without a network loads."""

    def load(models: Path) -> str:
        settings = {"HF_HOME": str(tmp_path / "nothing"), "HF_ENDPOINT": NOWHERE, "ADAINF_MODELS": str(models)}
        result = zygote.run(["python", LOAD], tmp_path, **settings)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return load


def test_fetched_here_and_carried_to_a_box_without_a_network(
    adainf: Adainf, loaded: Callable[[Path], str], hub: str, tmp_path: Path
) -> None:
    here, there, bundle = tmp_path / "here", tmp_path / "there", tmp_path / "model.tar"
    fetched = adainf("fetch", BACKBONE, "--bundle", bundle, models=here, hub=hub)
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert "checked" in fetched.stdout
    first = loaded(here)
    assert first in (here / "timm--test_vit.json").read_text(encoding="utf-8")
    assert not list(here.glob(".*"))

    installed = adainf("fetch", "--from", bundle, models=there)
    assert (installed.returncode, installed.stderr) == (0, "")
    assert loaded(there) == first
    # A service reads them as another user.
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in there.rglob("*") if file.is_file())
    assert "is whole" in adainf("fetch", "--check", models=there).stdout

    (file,) = there.rglob("model.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    damaged = adainf("fetch", "--check", models=there)
    assert damaged.returncode == 78
    assert "is damaged; fetch it again" in damaged.stderr


def test_every_network_of_a_profile_that_no_package_brings_is_fetched(
    adainf: Adainf, loaded: Callable[[Path], str], hub: str, tmp_path: Path, demo_weights: Path
) -> None:
    packaged = profile(SMALL, []).model_copy(update={"networks": (of_network("timm/tf_efficientnet_lite0"),)})
    family = beside(packaged, profile(SMALL, []), name="small", backbone=BACKBONE)
    family.write(tmp_path / "family.json")
    models = tmp_path / "models"
    fetched = adainf("fetch", "--profile", tmp_path / "family.json", models=models, hub=hub)
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert fetched.stdout.splitlines() == [
        f"{demo_weights}: timm/tf_efficientnet_lite0, of an installed package",
        f"{models}/timm--test_vit.json: {BACKBONE}, 2 files, checked",
    ]
    assert loaded(models) in (models / "timm--test_vit.json").read_text(encoding="utf-8")


def of_network(backbone: str) -> Network:
    return profile(SMALL, []).reference.model_copy(update={"backbone": backbone})


def test_bundle_that_is_cut_off_or_leads_elsewhere_installs_nothing(adainf: Adainf, hub: str, tmp_path: Path) -> None:
    bundle = tmp_path / "model.tar"
    adainf("fetch", BACKBONE, "--bundle", bundle, models=tmp_path / "here", hub=hub)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(bundle.read_bytes()[:-200_000])
    evil = tmp_path / "evil.tar"
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        '{"backbone": "x/y", "weights": null, "fingerprint": "", "files": {"hub/../../evil": "0"}, '
        '"schema": "adainf.model/1"}',
        encoding="utf-8",
    )
    with tarfile.open(evil, "w") as tar:
        tar.add(manifest, arcname="manifest.json")
        tar.add(manifest, arcname="hub/../../evil")
    nothing = tmp_path / "empty"
    nothing.write_bytes(b"")
    for file in (cut, evil, nothing, tmp_path / "none.tar"):
        result = adainf("fetch", "--from", file, models=tmp_path / "there")
        assert result.returncode == 78, file
        assert len(result.stderr.splitlines()) == 1
        assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        ((), 78, "give one of"),
        ((BACKBONE,), 69, "cannot be fetched"),
        (("timm/test_vti",), 78, "nearest names"),
        (("cifar/resnet20",), 78, "resnet20"),
        ((BACKBONE, "--check"), 78, "give one of"),
        ((BACKBONE, "--profile", "efficientnet-lite0"), 78, "give one of"),
        (("--profile", "nosuch"), 78, "not a shipped name under profiles"),
        (("--profile", "efficientnet-lite0", "--weights", "x"), 78, "go with BACKBONE"),
    ],
)
def test_refused(adainf: Adainf, tmp_path: Path, arguments: tuple[str, ...], status: int, named: str) -> None:
    result = adainf("fetch", *arguments, models=tmp_path / "models")
    assert (result.returncode, result.stdout) == (status, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert named in result.stderr
    assert not list((tmp_path / "models").rglob("*"))
