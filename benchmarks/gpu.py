"""A GPU box against its limits: engine, cameras, starts, training, contention.

    python benchmarks/gpu.py [STEP…] [--clip FILE] [--out FOLDER] [--write]       make bench-gpu
    python benchmarks/gpu.py --read FILE… [--write]

Needs no network. Each step runs in a process of its own within a time limit; all of them together take less than five
minutes. What they find goes into FOLDER as it comes (gpu.json, gpu.txt). A step that fails, or takes too long, is a
missed limit that says so, and the others go on. With --device cpu --quick each step runs on a processor, to see that it
does. With --read it shows what runs elsewhere have found, from their files gpu.json; a later file's steps replace those
of earlier ones. Exits with 1 where a limit is missed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_findings import Findings
from pages import measured_on, put
from rich.console import Console
from tables import Figure, limits

_PAGE = "gpu.md"
_CLIP = Path(__file__).parents[1] / "build/gpu/clip.mp4"
_LINES = 15


@dataclass(frozen=True, slots=True)
class Part:
    """A step's program, and its time limit in seconds."""

    program: str
    seconds: float
    argument: str | None = None


STEPS: dict[str, Part] = {
    "checks": Part("gpu_checks.py", 110),
    "engine": Part("gpu_engine.py", 60, "engine"),
    "cameras": Part("gpu_cameras.py", 95),
    "start": Part("gpu_start.py", 40),
    "contention": Part("gpu_contention.py", 30),
    "training": Part("gpu_training.py", 65),
    "compile": Part("gpu_engine.py", 40, "compile"),
    "planning": Part("gpu_planning.py", 90),
}
_BY_NAME_ALONE = ("planning",)
_ALL_SECONDS = 290.0
_ON_A_PROCESSOR_SECONDS = 600.0


def ran(name: str, options: list[str], found: Path, seconds: float) -> Findings:
    """Run a step in a subprocess with a time limit; return its findings.

    A failure is a missed limit among them.
    """
    part = STEPS[name]
    command = [sys.executable, str(Path(__file__).parent / part.program)]
    command += [] if part.argument is None else [part.argument]
    log_file = found.with_suffix(".log")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command, *options, "--out", str(found)], stdout=log, stderr=log, start_new_session=True
        )
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    findings = Findings.read(found)
    if status != 0:
        why = f"takes more than {seconds:.0f} s" if status is None else f"exits with {status}"
        tail = "\n".join(log_file.read_text(errors="replace").strip().splitlines()[-_LINES:])
        findings.note(f"{name}: {why}\n{tail}")
        findings.figure(Figure(f"{name}: {why}", 1, 0, form="{:.0f}"))
    return findings


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the steps; return the machine, and each step's findings."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + arguments.seconds
    document: dict[str, Any] = {"machine": _machine(), "steps": {}}
    with (arguments.out / "gpu.txt").open("w") as text, tempfile.TemporaryDirectory() as work:
        options = ["--device", arguments.device, "--work", work, "--clip", str(arguments.clip)]
        options += ["--quick"] if arguments.quick else []
        for name in arguments.steps or (name for name in STEPS if name not in _BY_NAME_ALONE):
            begun = time.monotonic()
            allowed = min(STEPS[name].seconds, end - begun) if arguments.device == "cuda" else _ON_A_PROCESSOR_SECONDS
            findings = ran(name, options, Path(work) / f"{name}.json", max(1.0, allowed))
            document["steps"][name] = {"seconds": round(time.monotonic() - begun, 1), **findings.told()}
            (arguments.out / "gpu.json").write_text(json.dumps(document, indent=1) + "\n")
            for console in (Console(width=200), Console(file=text, width=200)):
                console.rule(f"{name}, {time.monotonic() - begun:.0f} s")
                for note in findings.notes:
                    console.print(note, markup=False, highlight=False)
                for table in (*findings.tables.values(), limits(findings.figures)):
                    console.print(table.rich())
            text.flush()
    return document


def read(files: Sequence[Path]) -> dict[str, Any]:
    """Merge the findings of other runs; a later file's steps replace those of earlier ones."""
    document: dict[str, Any] = {"machine": "", "steps": {}}
    for file in files:
        found = json.loads(file.read_text())
        document = {"machine": found["machine"], "steps": {**document["steps"], **found["steps"]}}
    return document


def main() -> int:
    """Run or read the steps, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)} [default: all but planning]")
    parser.add_argument("--clip", type=Path, default=_CLIP, help="a video of 12.5 frames a second")
    parser.add_argument("--out", type=Path, default=Path("build/gpu-results"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--seconds", type=float, default=_ALL_SECONDS, help="for all steps together")
    parser.add_argument("--read", type=Path, nargs="+", metavar="FILE", help="run nothing; show what these files hold")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    arguments = parser.parse_args()
    if unknown := set(arguments.steps) - set(STEPS):
        parser.error(f"{', '.join(sorted(unknown))}: no such step; there are {', '.join(STEPS)}")
    if not arguments.read and not arguments.clip.is_file():
        parser.error(f"clip {arguments.clip}: no such file; name one with --clip")
    document = read(arguments.read) if arguments.read else run(arguments)
    steps = [Findings.of(step) for step in document["steps"].values()]
    tables = [table for step in steps for table in step.tables.values()]
    tables.append(limits([figure for step in steps for figure in step.figures]))
    for table in tables:
        Console(width=200).print(table.rich())
    if arguments.write:
        titled = (f"{table.title}:\n\n{table.markdown()}" for table in tables)
        put(_PAGE, "benchmarks/gpu.py", "\n\n".join([f"{document['machine']}.", *titled]))
    return 0 if tables[-1].met else 1


def _machine() -> str:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{measured_on()}; {name}; torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
