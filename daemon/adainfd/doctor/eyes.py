"""With whose eyes a configuration is looked at: root sees more than the service that is to run it.

The service's user may not read root's files; /home, /root and /tmp are hidden from it, and it alone has its keys, cache
and state. So root's look at a service's configuration is made in a transient unit of the same user and sandbox.
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
# The user of an instance is named after it, and systemd takes 31 characters for that.
_NAMES = {"adainfd": re.compile(r"[a-z0-9_-]{1,23}"), "adainfd-relay": re.compile(r"[a-z0-9_-]{1,17}")}
_SYSTEMCTL_SECONDS = 10.0
_LONGEST_LOOK_SECONDS = 600
# The settings of the unit that decide what its processes see and may do.
_EYES = re.compile(
    r"ExecStartPre|User|Group|DynamicUser|SupplementaryGroups|UMask|NoNewPrivileges|ProcSubset|TemporaryFileSystem"
    r"|\w+Directory|\w+DirectoryMode|\w*Environment|EnvironmentFile|\w+Credential(Encrypted)?|\w+Paths|Device(Policy|Allow)"
    r"|(Private|Protect)\w+|(Capability|Ambient)\w+|SystemCall\w+|RestrictAddressFamilies|IPAddress\w+"
)


@dataclass(frozen=True, slots=True)
class Service:
    """The service that runs a configuration. name: as in `systemctl status NAME`. settings: those of its unit."""

    name: str
    settings: tuple[str, ...]
    program: tuple[str, ...]
    active: bool

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that runs `adainfd ARGUMENTS` as this service would run it."""
        # The runtime directory of a running service would be removed with this unit.
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
    """The installed service that runs the configuration `file`; None where there is none, or we are not root."""
    if os.geteuid() != 0 or _SEEN_AS in os.environ or not _is_fit(file):
        return None
    if None in (shutil.which("systemctl"), shutil.which("systemd-run")):
        return None
    name = f"{_template(file)}@{file.stem}"
    unit = _systemctl("cat", f"{name}.service")
    state = _systemctl("show", "--value", "--property=ActiveState", f"{name}.service").strip()
    if not unit or not state:  # in a container the files may be there without a systemd that runs
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
    """Why no service can run a configuration that lies where the services have theirs; None where one can."""
    if os.geteuid() != 0 or _SEEN_AS in os.environ or _is_fit(file) or shutil.which("systemctl") is None:
        return None
    settings = reversed(list(_service_section(_systemctl("cat", "adainfd@any.service"))))
    if Path(next((value for key, value in settings if key == "WorkingDirectory"), "")) != file.parent.resolve():
        return None
    most = 17 if _template(file) == "adainfd-relay" else 23
    return f"no service can run it: {_template(file)}@NAME reads NAME.toml, NAME of at most {most} of a-z 0-9 _ -"


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
    """Check a configuration with the eyes of its service, else with ours; a summary that says with whose.

    Raises InvalidInputError on what is wrong in it or hidden from the service, UnavailableError where systemd cannot
    tell.
    """
    if service is None:
        from adainfd.doctor.settings import check as check_here

        return "; ".join(filter(None, (check_here(file), f"seen as {seen_as()}", unfit_name(file))))
    told = subprocess.run(  # noqa: S603
        service.command("check-config", file.parent.resolve() / file.name),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode == 0:
        return told.stdout.partition(": good; ")[2].strip()
    said = one_line(told.stderr.strip() or f"status {told.returncode}", 600)
    if told.returncode == InvalidInputError.exit_status:
        raise InvalidInputError(said.removeprefix("adainfd: "))
    raise UnavailableError(f"{file}: cannot be looked at as {service.name} ({said})")


def examine(file: Path, service: Service) -> bool:
    """Have the doctor look with the eyes of a service, and say what it finds; whether nothing fails.

    Raises UnavailableError where systemd cannot run it so, for which the service would not start either.
    """
    command = service.command("doctor", file.parent.resolve() / file.name)
    status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603
    if status not in (0, 1):
        raise UnavailableError(f"{file}: cannot be looked at as {service.name} (status {status})")
    return status == 0


def seen_as() -> str:
    """Whose eyes these are."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container
        user = str(os.geteuid())
    service = os.environ.get(_SEEN_AS)
    return f"user {user}" if service is None else f"{service} (user {user})"


def is_service() -> bool:
    """Whether these are the eyes of a service."""
    return _SEEN_AS in os.environ


def running_service() -> str | None:
    """The service whose eyes these are where it runs at this moment, and so holds its addresses."""
    return os.environ.get(_SEEN_AS) if _RUNS in os.environ else None


def hindrance(path: Path) -> tuple[str, str] | None:
    """Why the service cannot read a file or a folder that is there, and what to do; None without such a reason.

    Where we do not look as a service, what cannot be read says so when it is read.
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
    bits = "g+rx" if os.path.isdir(blocked) else "g+r"  # noqa: PTH112 -- False where it may not be looked at
    return f"{blocked} cannot be read by the service", f"chgrp adainf {blocked} && chmod {bits} {blocked}"


def _blocked(path: Path) -> Path | None:
    """The first of a path's folders that may not be entered, else the path; None where nothing is there."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder if os.path.lexists(folder) else None
    return path if os.path.lexists(path) else None


def _systemctl(*arguments: str) -> str:
    """What systemctl says; nothing where it fails."""
    try:
        told = subprocess.run(  # noqa: S603
            [str(shutil.which("systemctl")), "--no-pager", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout if told.returncode == 0 else ""


def _service_section(unit: str) -> Iterator[tuple[str, str]]:
    """Keys and values of [Service] in a unit and its drop-ins, in the order in which they count."""
    section = ""
    for line in map(str.strip, unit.replace("\\\n", " ").splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _expanded(value: str, instance: str) -> str:
    """The value with systemd's specifiers replaced, which systemd-run does not do; of those that units here use."""
    meanings = {"i": instance, "I": instance, "S": "/var/lib", "C": "/var/cache", "t": "/run", "E": "/etc", "%": "%"}
    return re.sub(r"%(.)", lambda match: meanings.get(match[1], match[0]), value)
