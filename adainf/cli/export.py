"""adainf export: write one branch as an ONNX model for other programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adainf.base import output
from adainf.cli.opening import open_profile_of, open_run, sources_of_profile
from adainf.cli.options import PATH, family_weights_option, labels_option, run_option, statistics_options

if TYPE_CHECKING:
    from adainf.backbones import Backbone
    from adainf.profile import Profile
    from adainf.run import Run
    from adainf.schedulers import Choice

__all__ = ["command"]


@click.command("export")
@click.option("--profile", help="A path or a shipped name.  [default: the run's]")
@run_option
@family_weights_option
@labels_option
@statistics_options
@click.option("--budget", type=click.FloatRange(0, 1, min_open=True), help="The best branch within this share of MACs.")
@click.option("--branch", help="This branch of the profile, such as 192:1110110111011111 or NETWORK/192:111.")
@click.option("--out", type=PATH, required=True, help="The model to write (.onnx).")
def command(
    profile: str | None, run: Path | None, budget: float | None, branch: str | None, out: Path, **options: Any
) -> None:
    """Write one branch as an ONNX model that runs without adainf.

    How pictures are to be prepared, and the labels of the scores, stand in the model's metadata.
    """
    if (budget is None) == (branch is None):
        raise click.UsageError("give one of --budget and --branch")
    of_run = None if run is None else open_run(run)
    read = open_profile_of(of_run, profile)
    choice = _chosen(read, budget, branch)
    from adainf.evaluation.partial import check_writable

    check_writable(out)
    network = _network(read, choice, of_run, options)
    from adainf.profile import write_atomically

    model = _model(network, choice)
    write_atomically(out, model)
    output.show(
        f"{out}: {choice.branch.path} of {read.of_key[choice.branch.network].name}, "
        f"{choice.macs_fraction:.1%} of the MACs, {len(model) / 1e6:.1f} MB"
    )


def _chosen(profile: Profile, budget: float | None, branch: str | None) -> Choice:
    from adainf.base.errors import InvalidInputError
    from adainf.schedulers import Choice, LookupTable

    if budget is not None:
        table = LookupTable(profile)
        if budget < table.floor:
            raise InvalidInputError(f"budget {budget}: no branch fits; the cheapest takes {table.floor:.4f}")
        return table.choose(budget)
    full_macs = profile.space.full_macs
    for measured in profile.branches:
        if measured.branch == branch:
            return Choice.of(measured, full_macs)
    raise InvalidInputError(f"branch {branch!r}: is none of the profile's {len(profile.branches)}")


def _network(profile: Profile, choice: Choice, run: Run | None, options: dict[str, Any]) -> Backbone:
    from adainf.backbones.weights import fingerprint
    from adainf.base.errors import InvalidInputError
    from adainf.evaluation.subject import check_describes

    key = choice.branch.network
    described = profile.of_key[key]
    if described.adapter is not None and (
        run is None or run.manifest.files.get("adapter.safetensors") != described.adapter
    ):
        raise InvalidInputError(
            f"branch {choice.branch}: runs with adapted weights; give --run, the run of the profile"
        )
    source = sources_of_profile(profile, run, options)[key]
    if described.adapter is None:
        network = source.network
        check_describes(described, network, fingerprint(network))
        return network
    base = replace(source, run=None).network
    check_describes(described, base, fingerprint(base))
    return source.network


def _model(network: Backbone, choice: Choice) -> bytes:
    """Return the ONNX file, with preprocessing, labels and branch as metadata; each value is JSON."""
    import onnx

    from adainf.engines import exports

    preprocessing = network.preprocessing
    side = choice.branch.resolution
    metadata = {
        "adainf.backbone": network.name,
        "adainf.branch": choice.branch.path,
        "adainf.macs_fraction": choice.macs_fraction,
        "adainf.expected_accuracy": choice.expected_accuracy,
        "labels": network.classes.names,
        "resolution": side,
        "crop": preprocessing.crop_at(side),
        "mean": preprocessing.mean,
        "std": preprocessing.std,
    }
    model = onnx.load_from_string(exports.export(network, choice.branch))
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    content: bytes = model.SerializeToString()
    return content
