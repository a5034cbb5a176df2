"""Entry point of a camera process: `python -m adainfd.capture`, followed by the descriptor numbers it inherits."""

import mmap
import os
import sys

from adainf.base.credentials import redacted
from adainf.base.errors import one_line
from adainfd.base.processes import end_with_parent
from adainfd.capture.exchange.reports import Failed, start_of, text
from adainfd.capture.worker.telling import Daemon


def main() -> None:
    """Run the camera until its source ends or the daemon goes away."""
    end_with_parent()
    settings, frames, attempts, commands, reports = map(int, sys.argv[1:])
    daemon = Daemon(commands, reports)
    try:
        from adainfd.capture.worker.main import work

        work(start_of(_content(settings)), frames, attempts, daemon)
    except (BrokenPipeError, EOFError):
        pass  # the daemon has gone away
    except Exception as error:  # stderr is /dev/null: report the defect in one line for the daemon to log
        daemon.tell(Failed(text(f"{type(error).__name__}: {one_line(redacted(str(error)))}{_place(error)}")))
        sys.exit(1)


def _content(descriptor: int) -> bytes:
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
        content = memory[:]
    os.close(descriptor)
    return content


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"  # noqa: PTH119


if __name__ == "__main__":
    main()
