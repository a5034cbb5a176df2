"""Many commands of ours one after the other, each in a fork of one process: the imports are made once."""

import faulthandler
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

__all__ = ["forked"]

_SECONDS = 20


def forked(
    commands: Collection[Sequence[str]], folder: Path, environment: Mapping[str, str], before: Sequence[str] = ()
) -> list[tuple[int, str]]:
    """The exit status of each command (`adainf` or `adainfd`, and arguments) and what it printed.

    before: goes before the one process's command, such as what runs it for another user.
    """
    said = subprocess.run(
        [*before, sys.executable, __file__],
        cwd=folder,
        # Else a command replaces its process by a new one.
        env={**environment, "MALLOC_TOP_PAD_": "0"},
        input=json.dumps([list(map(str, command)) for command in commands]).encode(),
        capture_output=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr.decode()
    return [(status, text) for status, text in json.loads(said.stdout)]


def _ended(command: Sequence[str]) -> tuple[int, str]:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 1)
        os.dup2(write, 2)
        faulthandler.dump_traceback_later(_SECONDS, exit=True)
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        sys.argv = list(command)
        status = 1
        try:
            _main(command[0])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as output:
        text = output.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _main(program: str) -> None:
    if program == "adainf":
        from adainf.cli import main
    else:
        from adainfd.cli import main
    main()


if __name__ == "__main__":
    print(json.dumps([_ended(command) for command in json.load(sys.stdin)]))
