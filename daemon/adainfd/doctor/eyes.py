"""Checks from the perspective of the service: root sees more than the service that will run a configuration.

The service's user may not read root's files; /home, /root and /tmp are hidden from it, and only it has its keys, cache
and state. So, if root checks a service's configuration, the check runs in a transient unit with the same user and
sandbox.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adainf.base.errors import InvalidInputError, UnavailableError, one_line
from adainf.base.tomlfile import load
from adainfd.relaying import is_of_a_relay

__all__ = [
    "Service",
    "check",
    "examine",
    "hindrance",
    "is_service",
    "running_service",
    "seen_as",
    "service_of",
    "unfit_name",
]

_SEEN_AS, _RUNS = "ADAINF_SEEN_AS", "ADAINF_SERVICE_RUNS"
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108
# Each instance's user is named after it, and systemd limits user names to 31 characters.
_NAMES = {"adainfd": re.compile(r"[a-z0-9_-]{1,23}"), "adainfd-relay": re.compile(r"[a-z0-9_-]{1,17}")}
_SYSTEMCTL_SECONDS = 10.0
_LONGEST_LOOK_SECONDS = 600
# The unit settings that determine what its processes can see and do.
_EYES = re.compile(
    r"ExecStartPre|User|Group|DynamicUser|SupplementaryGroups|UMask|NoNewPrivileges|ProcSubset|TemporaryFileSystem"
    r"|\w+Directory|\w+DirectoryMode|\w*Environment|EnvironmentFile|\w+Credential(Encrypted)?|\w+Paths|Device(Policy|Allow)"
    r"|(Private|Protect)\w+|(Capability|Ambient)\w+|SystemCall\w+|RestrictAddressFamilies|IPAddress\w+"
)


@dataclass(frozen=True, slots=True)
class Service:
    """The service that runs a configuration.

    name: as in `systemctl status NAME`. settings: those of its unit that decide what it can see and do.
    """

    name: str
    settings: tuple[str, ...]
    program: tuple[str, ...]
    active: bool

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the command line that runs `adainfd ARGUMENTS` with this service's user and sandbox."""
        # The transient unit would remove the running service's runtime directory when it ends.
        settings = [text for text in self.settings if not (self.active and text.startswith("RuntimeDirectory"))]
        properties = [*settings, f"RuntimeMaxSec={_LONGEST_LOOK_SECONDS}"]
        return [
            "systemd-run",
            "--quiet",
            "--pipe",
            "--wait",
            "--collect",
            f"--description=Look with the eyes of {self.name}",
            *(f"--property={text}" for text in properties),
            f"--setenv={_SEEN_AS}={self.name}",
            *([f"--setenv={_RUNS}=yes"] if self.active else []),
            "--",
            *self.program,
            *map(str, arguments),
        ]


def service_of(file: Path) -> Service | None:
    """Return the installed service that runs the configuration `file`; None if there is none, or this is not root."""
    if os.geteuid() != 0 or _SEEN_AS in os.environ or not _is_fit(file):
        return None
    if None in (shutil.which("systemctl"), shutil.which("systemd-run")):
        return None
    name = f"{_template(file)}@{file.stem}"
    unit = _systemctl("cat", f"{name}.service")
    state = _systemctl("show", "--value", "--property=ActiveState", f"{name}.service").strip()
    if not unit or not state:  # a container may have the unit files without a running systemd
        return None
    settings = [(key, _expanded(value, file.stem)) for key, value in _service_section(unit)]
    folder = next((value for key, value in reversed(settings) if key == "WorkingDirectory"), "")
    if Path(folder) != file.parent.resolve():
        return None
    started = next((value for key, value in reversed(settings) if key == "ExecStart" and value), "-").split()[0]
    program = started.lstrip("@-:+!")
    return Service(
        name,
        tuple(f"{key}={value}" for key, value in settings if _EYES.fullmatch(key)),
        (program,) if Path(program).name == "adainfd" else (sys.executable, "-m", "adainfd"),
        state not in ("inactive", "failed"),
    )


def unfit_name(file: Path) -> str | None:
    """Return why no service can run a configuration in the services' folder because of its name, otherwise None."""
    if os.geteuid() != 0 or _SEEN_AS in os.environ or _is_fit(file) or shutil.which("systemctl") is None:
        return None
    settings = reversed(list(_service_section(_systemctl("cat", "adainfd@any.service"))))
    if Path(next((value for key, value in settings if key == "WorkingDirectory"), "")) != file.parent.resolve():
        return None
    longest = 17 if _template(file) == "adainfd-relay" else 23
    return f"no service can run it: {_template(file)}@NAME reads NAME.toml, NAME of at most {longest} of a-z 0-9 _ -"


def _is_fit(file: Path) -> bool:
    return file.suffix == ".toml" and _NAMES[_template(file)].fullmatch(file.stem) is not None


def _template(file: Path) -> str:
    return "adainfd-relay" if _is_of_relay(file) else "adainfd"


def _is_of_relay(file: Path) -> bool:
    try:
        return is_of_a_relay(load(file, "configuration"))
    except InvalidInputError:
        return False


def check(file: Path, service: Service | None) -> str:
    """Check a configuration as its service sees it, or else as this user does; return a summary that says which.

    Raises InvalidInputError if it is wrong or hidden from the service, UnavailableError if systemd cannot run the
    check.
    """
    if service is None:
        from adainfd.doctor.settings import check as check_here

        return "; ".join(filter(None, (check_here(file), f"seen as {seen_as()}", unfit_name(file))))
    completed = subprocess.run(  # noqa: S603
        service.command("check-config", file.parent.resolve() / file.name),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode == 0:
        return completed.stdout.partition(": good; ")[2].strip()
    message = one_line(completed.stderr.strip() or f"status {completed.returncode}", 600)
    if completed.returncode == InvalidInputError.exit_status:
        raise InvalidInputError(message.removeprefix("adainfd: "))
    raise UnavailableError(f"{file}: cannot be looked at as {service.name} ({message})")


def examine(file: Path, service: Service) -> bool:
    """Run the doctor with a service's user and sandbox and print its findings; return whether no check failed.

    Raises UnavailableError if systemd cannot run it that way, in which case the service would not start either.
    """
    command = service.command("doctor", file.parent.resolve() / file.name)
    status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603
    if status not in (0, 1):
        raise UnavailableError(f"{file}: cannot be looked at as {service.name} (status {status})")
    return status == 0


def seen_as() -> str:
    """Return the identity this process checks as: the user, and the service if any."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container
        user = str(os.geteuid())
    service = os.environ.get(_SEEN_AS)
    return f"user {user}" if service is None else f"{service} (user {user})"


def is_service() -> bool:
    """Return whether this process runs its checks as a service."""
    return _SEEN_AS in os.environ


def running_service() -> str | None:
    """Return the service this process checks as, if that service is running and so holds its addresses."""
    return os.environ.get(_SEEN_AS) if _RUNS in os.environ else None


def hindrance(path: Path) -> tuple[str, str] | None:
    """Return why the service cannot read an existing file or folder, and the remedy; None if nothing prevents it.

    Always None outside a service: there, unreadable files are reported when they are read.
    """
    if not is_service():
        return None
    real = Path(os.path.realpath(path))
    if os.access(real, os.R_OK):
        return None
    if any(real.is_relative_to(hidden) for hidden in _HIDDEN):
        return f"{path} is hidden from the service", "move it below /var/lib or /srv: /home, /root and /tmp are hidden"
    blocked = _blocked(real)
    if blocked is None:
        return None
    bits = "g+rx" if os.path.isdir(blocked) else "g+r"  # noqa: PTH112 -- Path.is_dir raises if it may not look
    return f"{blocked} cannot be read by the service", f"chgrp adainf {blocked} && chmod {bits} {blocked}"


def _blocked(path: Path) -> Path | None:
    """Return the first parent folder that may not be entered, else the path itself; None if it does not exist."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder if os.path.lexists(folder) else None
    return path if os.path.lexists(path) else None


def _systemctl(*arguments: str) -> str:
    """Return the output of systemctl; empty if it fails."""
    try:
        completed = subprocess.run(  # noqa: S603
            [str(shutil.which("systemctl")), "--no-pager", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return completed.stdout if completed.returncode == 0 else ""


def _service_section(unit: str) -> Iterator[tuple[str, str]]:
    """Yield keys and values of [Service] in a unit and its drop-ins, in file order: later ones override."""
    section = ""
    for line in map(str.strip, unit.replace("\\\n", " ").splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _expanded(value: str, instance: str) -> str:
    """Return the value with the systemd specifiers used by our units replaced; systemd-run does not expand them."""
    meanings = {"i": instance, "I": instance, "S": "/var/lib", "C": "/var/cache", "t": "/run", "E": "/etc", "%": "%"}
    return re.sub(r"%(.)", lambda match: meanings.get(match[1], match[0]), value)
