"""Many commands of ours one after the other, each in a fork of one process: the imports are made once."""

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

__all__ = ["Zygote", "forked"]

_SECONDS = 60
_DAEMON = "adainfd.runtime.daemon"
# All that a start imports, sooner or later.
_START = (_DAEMON, "adainfd.model.export_process", "adainf.backbones", "onnxruntime", "torch")


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


class Zygote:
    """A process that has made its imports; each command runs in a fork of it, as a process would."""

    def __init__(self, environment: Mapping[str, str], imports: Sequence[str] = _START) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "zygote", *imports],
            env={**environment, "MALLOC_TOP_PAD_": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: Sequence[str], folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run `adainf` or `adainfd` and arguments, or `python` and a program, in `folder`, to its end.

        more: variables of its environment.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([list(command), str(folder), more]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the zygote ended with {self._process.wait(5)}"
        return subprocess.CompletedProcess(list(command), *json.loads(answer))

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=_SECONDS)


def _serve(imports: Sequence[str]) -> None:
    """Answer each line, a command, its folder and variables, by its status, output and errors."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in imports:
        importlib.import_module(name)
    for line in sys.stdin:
        command, folder, more = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                os.chdir(folder)
                os.environ.update(more)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                _exit_by(command)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace") for file in (out, err)]
        print(json.dumps([status, *texts]), file=answers, flush=True)


def _ended(command: Sequence[str]) -> tuple[int, str]:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 1)
        os.dup2(write, 2)
        _exit_by(command)
    os.close(write)
    with os.fdopen(read, "rb") as output:
        text = output.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _exit_by(command: Sequence[str]) -> NoReturn:
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


def _main(program: str) -> None:
    if program == "python":
        exec(sys.argv[1], {})  # noqa: S102
        sys.exit()
    if program == "adainf":
        from adainf.cli import main
    else:
        from adainfd.cli import main
    main()


if __name__ == "__main__" and sys.argv[1:2] == ["zygote"]:
    _serve(sys.argv[2:])
elif __name__ == "__main__":
    importlib.import_module(_DAEMON)
    print(json.dumps([_ended(command) for command in json.load(sys.stdin)]))
