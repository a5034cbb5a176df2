"""adainf fetch: install weights from their hub, or from a bundle, in the folder that services read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adainf.base import output
from adainf.cli.options import PATH

if TYPE_CHECKING:
    from adainf.downloads.fetched import FetchedManifest

__all__ = ["command"]


@click.command("fetch")
@click.argument("backbone", required=False)
@click.option("--profile", help="Every network of this profile that no installed package brings.")
@click.option("--weights", help="Which of the backbone's weights at the hub.  [default: the family's]")
@click.option("--bundle", type=PATH, help="Also write the model as one file, for a box without a network.")
@click.option("--from", "source", type=PATH, help="Install such a file, instead of asking the hub.")
@click.option("--check", is_flag=True, help="Only check that all fetched models are still whole.")
def command(
    backbone: str | None,
    profile: str | None,
    weights: str | None,
    bundle: Path | None,
    source: Path | None,
    *,
    check: bool,
) -> None:
    """Fetch BACKBONE (FAMILY/NAME) from its hub and check it, so that a start downloads nothing."""
    if sum(given is not None for given in (backbone, profile, source)) + check != 1:
        raise click.UsageError("give one of BACKBONE, --profile, --from FILE and --check")
    if backbone is None and (weights or bundle):
        raise click.UsageError("--weights and --bundle go with BACKBONE")
    from adainf.base import files
    from adainf.downloads import bundles
    from adainf.downloads import fetched as models

    if check:
        for folder in models.folders():
            for manifest in models.manifests(folder) if files.is_folder(folder, "models") else ():
                models.verify(folder, manifest)
                output.show(f"{folder / manifest.file_name}: {manifest.backbone} is whole")
        return
    into = models.writable_folder()
    if source is not None:
        _installed(bundles.unbundle(source, into), into)
    elif profile is not None:
        for missing in _not_packaged(profile):
            _installed(_from_hub(missing, None, into), into)
    else:
        manifest = _from_hub(str(backbone), weights, into)
        if bundle is not None:
            bundles.bundle(into, manifest, bundle)
            output.show(f"{bundle}: {manifest.backbone}, {bundle.stat().st_size / 1e6:.1f} MB")
        _installed(manifest, into)


def _installed(manifest: FetchedManifest, into: Path) -> None:
    output.show(f"{into / manifest.file_name}: {manifest.backbone}, {len(manifest.files)} files, checked")


def _not_packaged(profile: str) -> list[str]:
    """Return the backbones of a profile's networks whose weights are in no installed package; name the others."""
    from adainf.backbones.defaults import default_weights
    from adainf.cli.opening import open_profile

    missing = []
    for backbone in dict.fromkeys(network.backbone for network in open_profile(profile)[1].networks):
        if (packaged := default_weights(backbone)) is None:
            missing.append(backbone)
        else:
            output.show(f"{packaged}: {backbone}, of an installed package")
    return missing


def _from_hub(backbone: str, weights: str | None, into: Path) -> FetchedManifest:
    from adainf.backbones import Options, load
    from adainf.backbones.weights import fingerprint
    from adainf.base.errors import InvalidInputError
    from adainf.downloads import fetched as models
    from adainf.downloads.hub import fetching

    options = Options(weights=weights, labels=("thing",) if backbone.startswith("openclip/") else ())
    if weights is not None and options.weights_file is not None:
        raise InvalidInputError(f"--weights {weights}: names a file, and there is nothing to fetch")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=into) as staging:
            with fetching(Path(staging) / "hub"):
                network = load(backbone, options)
            if not (Path(staging) / "hub").is_dir():
                raise InvalidInputError(f"backbone {backbone}: has no weights at a hub; give a file as `weights`")
            return models.install(Path(staging), backbone, weights, fingerprint(network), into)
    except OSError as error:
        raise InvalidInputError(
            f"models {into}: cannot be written ({error.strerror}); run as root, or set ADAINF_MODELS"
        ) from None
