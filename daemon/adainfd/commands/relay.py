"""`adainfd relay`: publish the streams of many boxes at one address, or to an MQTT broker."""

import signal
from pathlib import Path

import click

__all__ = ["command"]


@click.command("relay")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.option("--connect", multiple=True, metavar="ENDPOINT", help="A daemon to take the stream of.")
@click.option("--bind", multiple=True, metavar="ENDPOINT", help="Publish them all here.")
@click.option("--mqtt", metavar="URL", help="Tell this broker their events and states instead.")
@click.option(
    "--mqtt-password-file",
    type=click.Path(path_type=Path),
    help="The password of the user at the broker (mqtt://USER@HOST).",
)
def command(
    config: Path | None,
    connect: tuple[str, ...],
    bind: tuple[str, ...],
    mqtt: str | None,
    mqtt_password_file: Path | None,
) -> None:
    """Bring the streams of many boxes together at one address, or to an MQTT broker."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files that a reload reads have not been read yet
    from adainf.process import arguments
    from adainfd import relaying
    from adainfd.base import logs

    configuration = relaying.from_command_line(config, connect, bind, mqtt, mqtt_password_file)
    log = logs.configure()
    if arguments.has_password():
        log.warning("password_in_arguments", remedy="give it by --mqtt-password-file, or password_file in a --config")
    arguments.forget()
    relaying.run(configuration, log)
