"""A camera's process: `python -m adainfd.capture` with the numbers of the descriptors that it was given."""

import mmap
import os
import sys

from adainf.base.credentials import redacted
from adainf.base.errors import one_line
from adainfd.base.processes import end_with_parent
from adainfd.capture.exchange.reports import Failed, start_of, text
from adainfd.capture.worker.telling import Daemon


def main() -> None:
    """Run until the source ends, or the daemon is gone."""
    end_with_parent()
    settings, frames, attempts, commands, reports = map(int, sys.argv[1:])
    daemon = Daemon(commands, reports)
    try:
        from adainfd.capture.worker.main import work

        work(start_of(_content(settings)), frames, attempts, daemon)
    except (BrokenPipeError, EOFError):
        pass  # the daemon is gone
    except Exception as error:  # nobody reads a traceback here: the daemon says in one line what the defect is
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
