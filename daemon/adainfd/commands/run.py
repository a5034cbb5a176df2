"""`adainfd run`: run the daemon."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

import click

from adainfd.terminal.options import DEFAULT_ENDPOINT, Seconds

__all__ = ["command"]


@click.command("run")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--source", "sources", multiple=True, metavar="ADDRESS", help="A video file, camera index or stream.")
@click.option(
    "--password-file", type=click.Path(path_type=Path), help="The password of the user in --source (rtsp://USER@HOST)."
)
@click.option("--loop", is_flag=True, help="Play video files again and again.")
@click.option("--bind", "bind", multiple=True, metavar="ENDPOINT", help=f"Publish here [{DEFAULT_ENDPOINT}].")
@click.option("--policy", metavar="NAME|FILE", help="How signals become budgets [balanced].")
@click.option("--profile", metavar="NAME|FILE", help="What calibration learned of the backbone.")
@click.option(
    "--run",
    "trained",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="What `adainf train` made; its profile is the default.",
)
@click.option("--seconds", type=Seconds(min=0, min_open=True), help="Stop after this time.")
@click.option("--wait-for-cameras", is_flag=True, help="Start even where no camera can be opened yet.")
@click.option("--log-results", is_flag=True, help="Log each result, not only a summary once a minute.")
@click.option("--record", type=click.Path(path_type=Path), help="Keep signals and decisions for `adainfd replay`.")
def command(
    config: Path | None,
    sources: tuple[str, ...],
    password_file: Path | None,
    loop: bool,
    bind: tuple[str, ...],
    policy: str | None,
    profile: str | None,
    trained: Path | None,
    seconds: float | None,
    wait_for_cameras: bool,
    log_results: bool,
    record: Path | None,
) -> None:
    """Run the daemon.

    SIGHUP takes up an edited policy.

    Options on the command line go before what the configuration file says; --source replaces its cameras.
    """
    # Nothing is running until the daemon installs its own handlers, and an exception would be raised inside an import.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files that a reload reads have not been read yet
    from adainf.process import arguments
    from adainf.process.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
    exposed = arguments.has_password()
    arguments.forget()
    faulthandler.enable()  # systemd aborts a hanging daemon; the log then shows where it hung
    from adainfd.base import logs
    from adainfd.base.secretfile import password
    from adainfd.config.configuration import Configuration
    from adainfd.doctor.settings import from_command_line
    from adainfd.runtime import daemon

    # Read once, not at each reload: the file may be a pipe.
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
    # Everything is closed; skip interpreter shutdown, because unloading PyTorch takes another one or two seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
