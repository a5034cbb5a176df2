"""adainf measure: time each branch on this device."""

from __future__ import annotations

import click

from adainf.base import output
from adainf.cli.opening import open_profile, weights_of
from adainf.cli.options import family_weights_option, labels_option, threads_option, use_all_of_the_processor, warn

__all__ = ["command"]


@click.command("measure")
@click.argument("profile", metavar="PROFILE.json")
@family_weights_option
@labels_option
@threads_option
@click.option("--engine", type=click.Choice(["torch", "onnx"]), help="[default: the device's]")
@click.option("--seconds", type=click.FloatRange(1, 100), default=100, show_default=True, help="Measure for so long.")
def command(
    profile: str,
    weights: tuple[str, ...],
    labels: tuple[str, ...],
    threads: int | None,
    engine: str | None,
    seconds: float,
) -> None:
    """Time the branches of a profile on this device and write the times into it.

    Where the engine runs several pictures together, they are timed by their number too. What it takes to make a branch
    ready counts neither as its time nor towards --seconds.

    Without weights random ones are timed, which take as long. Without --engine each engine that runs on the processor
    is timed, where there is no GPU; the daemon takes the faster one.
    """
    use_all_of_the_processor()
    from adainf.evaluation.partial import check_writable

    path, read = open_profile(profile)
    check_writable(path)
    from adainf import engines
    from adainf.cli import tables
    from adainf.evaluation import subject, timing

    networks = subject.load_for_timing(read, *weights_of(weights), labels)
    first = engines.load(engine, networks, threads=threads, warn=warn)
    times_both_engines = engine is None and first.name == "onnx"
    timed = [first, engines.load("torch", networks, device="cpu", threads=threads)] if times_both_engines else [first]
    for runs_on in timed:
        read, times = timing.add_timings(read, runs_on, seconds / len(timed))
        read.write(path)
        tables.print_times(read, times)
    faster = read.faster_engine(first.device, first.threads)
    if faster is not None:
        output.show(f"{faster} is the faster engine here; adainfd takes it")
