"""The command `adainfd`."""

import faulthandler
import math
import os
import signal
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import click

from adainf.base import command, output

__all__ = ["main"]

_DEFAULT_ENDPOINT = "tcp://127.0.0.1:5600"


class _Seconds(click.FloatRange):
    name = "seconds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        seconds = super().convert(value, parameter, context)
        if math.isnan(seconds):  # neither below nor above any bound
            self.fail(f"{value!r} is no number of seconds", parameter, context)
        return seconds


@click.group(cls=command.Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="adainf")
def adainfd() -> None:
    """Recognise what cameras see, within a compute budget that follows the box and the scene."""


@adainfd.command()
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--source", "sources", multiple=True, metavar="ADDRESS", help="A video file, camera index or stream.")
@click.option(
    "--password-file", type=click.Path(path_type=Path), help="The password of the user in --source (rtsp://USER@HOST)."
)
@click.option("--loop", is_flag=True, help="Play video files again and again.")
@click.option("--bind", "bind", multiple=True, metavar="ENDPOINT", help=f"Publish here [{_DEFAULT_ENDPOINT}].")
@click.option("--policy", metavar="NAME|FILE", help="How signals become budgets [balanced].")
@click.option("--profile", metavar="NAME|FILE", help="What calibration learned of the backbone.")
@click.option("--run", "trained", metavar="NAME|FOLDER", help="What `adainf train` made; its profile is the default.")
@click.option("--seconds", type=_Seconds(min=0, min_open=True), help="Stop after this time.")
@click.option("--wait-for-cameras", is_flag=True, help="Start even where no camera can be opened yet.")
@click.option("--log-results", is_flag=True, help="Log each result, not only a summary once a minute.")
@click.option("--record", type=click.Path(path_type=Path), help="Keep signals and decisions for `adainfd replay`.")
def run(
    config: Path | None,
    sources: tuple[str, ...],
    password_file: Path | None,
    loop: bool,
    bind: tuple[str, ...],
    policy: str | None,
    profile: str | None,
    trained: str | None,
    seconds: float | None,
    wait_for_cameras: bool,
    log_results: bool,
    record: Path | None,
) -> None:
    """Run the daemon.

    SIGHUP takes up an edited policy.

    Options on the command line go before what the configuration file says; --source replaces its cameras.
    """
    # Until the daemon takes these signals over nothing is started, and an exception would be raised amid imports.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what a reload reads is about to be read
    from adainf.base import arguments
    from adainf.base.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
    exposed = arguments.has_password()
    arguments.forget()
    faulthandler.enable()  # systemd aborts a daemon that hangs: its log then says where
    from adainfd.base import logs
    from adainfd.base.secretfile import password
    from adainfd.config.configuration import Configuration
    from adainfd.doctor.settings import from_command_line
    from adainfd.runtime import daemon

    # Once, not at each reload: it may be a pipe.
    known = None if password_file is None else password(password_file, "--password-file")

    def configure() -> Configuration:
        configuration = from_command_line(
            config,
            sources,
            loop=loop,
            bind=bind,
            policy=policy,
            profile=profile,
            run=trained,
            password=known,
        )
        nonlocal exposed
        if exposed:
            exposed = False
            log.warning("password_in_arguments", remedy="give it by --password-file, or password_file in a --config")
        return configuration

    lines = logs.LogLines()
    log = logs.configure(lines)
    daemon.run(
        configure,
        log,
        seconds=seconds,
        record=record,
        wait_for_cameras=wait_for_cameras,
        log_results=log_results,
        hindered=(lines,),
    )
    # All is closed. To take PyTorch apart would keep a stop waiting for one second more, or two.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@adainfd.command()
@click.option("--connect", default=_DEFAULT_ENDPOINT, show_default=True, metavar="ENDPOINT", help="Where to listen.")
@click.option("--key", type=click.Path(path_type=Path), help="Our keys (FILE.key_secret), where the daemon wants them.")
@click.option("--server", metavar="KEY|FILE", help="The daemon's public key; goes with --key.")
@click.option("--json", "as_json", is_flag=True, help="Print whole messages, a line each.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many results.")
def tail(connect: str, key: Path | None, server: str | None, as_json: bool, count: int | None) -> None:
    """Show the results of a running daemon as they come."""
    from adainfd.commands.tail import show

    show(connect, as_json=as_json, count=count, key=key, server=server)


@adainfd.command()
@click.option("--connect", default=_DEFAULT_ENDPOINT, show_default=True, metavar="ENDPOINT", help="Where to listen.")
@click.option("--key", type=click.Path(path_type=Path), help="Our keys (FILE.key_secret), where the daemon wants them.")
@click.option("--server", metavar="KEY|FILE", help="The daemon's public key; goes with --key.")
@click.option("--once", is_flag=True, help="Show how it stands after some seconds, and end.")
def watch(connect: str, key: Path | None, server: str | None, once: bool) -> None:
    """Watch a running daemon in the terminal: cameras, labels, budgets and what limits them, latency, drops."""
    from adainfd.commands.watch import show

    show(connect, key=key, server=server, once=once)


@adainfd.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
def doctor(file: Path | None) -> None:
    """Look at all that a daemon needs on this box and, with a configuration FILE, at all that it names.

    Root looks at a service's configuration with the eyes of the service. Exits with 1 where something fails.
    """
    from adainfd.doctor import examine, eyes, line, systemd

    service = None if file is None else eyes.service_of(file)
    findings = chain(() if eyes.is_service() else systemd(), () if service else examine(file))
    failed = False
    for finding in findings:
        click.echo(line(finding))
        failed = failed or finding.verdict == "fail"
    if service is not None and file is not None:
        failed = not eyes.examine(file, service)
    if failed:
        sys.exit(1)


@adainfd.command()
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--connect", multiple=True, metavar="ENDPOINT", help="A daemon to take the stream of.")
@click.option("--bind", multiple=True, metavar="ENDPOINT", help="Publish them all here.")
@click.option("--mqtt", metavar="URL", help="Tell this broker their events and states instead.")
@click.option(
    "--mqtt-password-file",
    type=click.Path(path_type=Path),
    help="The password of the user at the broker (mqtt://USER@HOST).",
)
def relay(
    config: Path | None,
    connect: tuple[str, ...],
    bind: tuple[str, ...],
    mqtt: str | None,
    mqtt_password_file: Path | None,
) -> None:
    """Bring the streams of many boxes together at one address, or to an MQTT broker."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what a reload reads is about to be read
    from adainf.base import arguments
    from adainfd import relaying
    from adainfd.base import logs

    configuration = relaying.from_command_line(config, connect, bind, mqtt, mqtt_password_file)
    log = logs.configure()
    if arguments.has_password():
        log.warning("password_in_arguments", remedy="give it by --mqtt-password-file, or password_file in a --config")
    arguments.forget()
    relaying.run(configuration, log)


@adainfd.group(cls=command.Group)
def keys() -> None:
    """Make and show the keys (CURVE) that say who may read the stream."""


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Make a pair of keys: FILE.key, to give away, and FILE.key_secret, to keep."""
    from adainfd.wire.keys import KeyPair

    output.show(KeyPair.new(file).public)


@keys.command("show")
@click.argument("told", metavar="FILE|FOLDER|KEY")
def show_keys(told: str) -> None:
    """Show the public key in a file, or those in a folder with their names."""
    from adainf.base import files
    from adainfd.wire.keys import AllowList, public_key

    if not files.is_folder(Path(told), "key"):
        output.show(public_key(told))  # a key may hold //, which is another one as a path
        return
    for name, key in AllowList(Path(told)):
        output.show(f"{key}  {name}")


@adainfd.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, readable=False))
def check_config(file: Path) -> None:
    """Check a configuration file with its policies, profile, weights and keys, and start nothing.

    Root looks at a service's configuration with the eyes of the service.
    """
    from adainfd.doctor import eyes

    output.show(f"{file}: good; {eyes.check(file, eyes.service_of(file))}")


@adainfd.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", "trained", metavar="NAME|FOLDER", help="What `adainf train` made.")
@click.option("--profile", metavar="NAME|FILE", help="What calibration learned.")
def adopt(file: Path, trained: str | None, profile: str | None) -> None:
    """Take up another run or profile in the configuration FILE, checked first; `rollback` undoes it."""
    from adainfd.commands.adopt import adopt as adopt_in

    if trained is None and profile is None:
        raise click.UsageError("give --run, --profile or both")
    output.show(f"{file}: {adopt_in(file, run=trained, profile=profile)}; restart the daemon")


@adainfd.command()
@click.argument("file", type=click.Path(path_type=Path))
def rollback(file: Path) -> None:
    """Go back to the configuration that FILE held before `adopt`; once more goes forward again."""
    from adainfd.commands.adopt import rollback as roll_back

    output.show(f"{file}: {roll_back(file)}; restart the daemon")


@adainfd.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="[CAMERA=]NAME|FILE",
    help="Decide by this policy instead of the general one, or instead of CAMERA's.",
)
@click.option("--check", is_flag=True, help="Exit 1 where a recomputed decision differs from the recorded one.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw budget, latency and load over time (PNG).")
def replay(trace: Path, policies: tuple[str, ...], check: bool, plot: Path | None) -> None:
    """Decide again on a recorded TRACE, and compare."""
    from adainfd.replaying import replay as replay_trace

    if not replay_trace(trace, policies, check=check, plot=plot):
        sys.exit(1)


@adainfd.command()
@click.argument("video", required=False)
@click.option("--seconds", type=_Seconds(min=5), default=20.0, show_default=True, help="How long to show it.")
def demo(video: str | None, seconds: float) -> None:
    """Show the daemon at work on VIDEO, or on a clip that comes with the extra `demo`."""
    from adainfd.commands.demo import show

    status = show(video, seconds)
    if status:
        sys.exit(status)


def main() -> None:
    """The console script."""
    try:
        command.run(adainfd, "adainfd")
    except KeyboardInterrupt:
        sys.exit(0)
