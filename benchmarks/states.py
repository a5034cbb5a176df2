"""States of real clips, as the daemon tells them: which changes are wrong, and the compute that a view takes.

    python benchmarks/states.py --data FOLDER [--write]

FOLDER has `videos` with the clips that `benchmarks/spans` has the states of. Each clip's states are taught from its
first part; then one daemon watches all clips in real time, under the policy `balanced` with a mean budget of 0.10.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from adainfd.client import Subscriber
from adainfd.wire import messages
from tables import Figure, Table, finish, limits

from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN
from adainf.profile import Profile
from adainf.shipped import find

SPANS = Path(__file__).parent / "spans"
CLIPS = ("one-by-one-person-detection", "car-detection", "bottle-detection")
PROFILE = "efficientnet-lite0"
MEAN = 0.1
# A state is told after it has held for `appear_seconds`, from the frame on that first showed it.
TOLERANCE_SECONDS = 2.0
SHORTEST_SECONDS = 2.0
_SILENCE_MS = 30.0


@dataclass(frozen=True)
class Span:
    """From when to when a clip shows a state, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Told:
    """A state, and the second of the clip from which it holds."""

    at: float
    state: str


def spans_of(clip: str) -> list[Span]:
    """Return all spans of a clip, those that were taught and the later ones."""
    rows: list[Span] = []
    for part in ("taught", "later"):
        with (SPANS / f"{clip}-{part}.csv").open(newline="") as file:
            rows += [Span(float(row["start"]), float(row["end"]), row["label"]) for row in csv.DictReader(file)]
    return sorted(rows, key=lambda span: span.start)


def taught(clip: str, videos: Path, folder: Path) -> Path:
    """Teach a clip's states from its first part."""
    file = folder / f"{clip}.classes"
    command = [sys.executable, "-c", "from adainf.cli import main; main()", "teach", "--profile", PROFILE]
    source = ["--video", str(videos / f"{clip}.mp4"), "--spans", str(SPANS / f"{clip}-taught.csv")]
    subprocess.run([*command, *source, "--limit", "20", "--out", str(file)], check=True)
    return file


def watched(videos: Path, folder: Path) -> tuple[dict[str, list[Told]], Path]:
    """Run the daemon over all clips; return the states it told of each, and the trace."""
    policy = find("policies", "balanced", ".toml").read_text(encoding="utf-8")
    policy = re.sub(r"^minimum = 0\.2", f"minimum = 0.05\nmean = {MEAN}", policy, flags=re.MULTILINE)
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    endpoint = f"ipc://{folder}/stream"
    lines = ["[model]", f'profile = "{PROFILE}"', 'policy = "policy.toml"', "[publish]", f'bind = ["{endpoint}"]']
    lines += ["[events]", "minimum_score = 0.5"]
    for clip in CLIPS:
        lines += ["[[camera]]", f'name = "{clip}"', f'source = "{videos / clip}.mp4"', f'classes = "{clip}.classes"']
    (folder / "clips.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    trace = folder / "clips.trace"
    command = [sys.executable, "-m", "adainfd", "run", "--config", "clips.toml", "--record", str(trace)]
    begun: dict[str, float] = {}
    told: dict[str, list[Told]] = {clip: [] for clip in CLIPS}
    with (
        Subscriber(endpoint, topics=["state/", "result/", "status/"]) as stream,
        subprocess.Popen(command, cwd=folder) as daemon,
    ):
        while daemon.poll() is None:
            message = stream.receive(_SILENCE_MS / 1000)
            match message:
                case messages.Result(frame=1):
                    begun[message.camera] = message.captured_at
                case messages.State(state=str(), since=float()) if message.camera in begun:
                    told[message.camera].append(Told(message.since - begun[message.camera], message.state))
    return told, trace


def wrong_changes(told: list[Told], spans: list[Span]) -> list[Told]:
    """Return the states that no span near their beginning has; `unknown` between spans is right."""

    def is_right(change: Told) -> bool:
        near = [s for s in spans if s.start - TOLERANCE_SECONDS <= change.at <= s.end + TOLERANCE_SECONDS]
        inside = any(s.start + TOLERANCE_SECONDS <= change.at <= s.end - TOLERANCE_SECONDS for s in near)
        return any(s.label == change.state for s in near) or (change.state == UNKNOWN and not inside)

    return [change for change in told if not is_right(change)]


def lost_states(told: list[Told], spans: list[Span]) -> list[Span]:
    """Return the spans, of those that last long enough, in whose middle another state was told."""

    def state_at(second: float) -> str | None:
        before = [change for change in told if change.at <= second]
        return before[-1].state if before else None

    lasting = [span for span in spans if span.end - span.start >= SHORTEST_SECONDS]
    return [span for span in lasting if state_at((span.start + span.end) / 2) != span.label]


def mean_macs(trace: Path) -> dict[str, float]:
    """Return each camera's mean MACs a frame, as a fraction of the full branch's, second looks included."""
    full = Profile.read(find("profiles", PROFILE, ".json")).space.full_macs
    frames: dict[str, list[float]] = {clip: [] for clip in CLIPS}
    fractions: dict[str, dict[Branch, float]] = {}
    for line in trace.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "taught" in entry:
            for camera, profile in entry["taught"].items():
                branches = profile["branches"]
                fractions[camera] = {Branch.parse(each["branch"]): each["macs"] / full for each in branches}
        if entry["kind"] == "frame":
            ran = [] if entry["chosen_by"] == "reuse" else [entry["branch"]]
            ran += [] if entry["second_look"] is None else [entry["second_look"]["branch"]]
            known = fractions[entry["camera"]]
            frames[entry["camera"]].append(sum(known[Branch.parse(branch)] for branch in ran))
    return {clip: sum(each) / len(each) for clip, each in frames.items()}


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="put the tables into states.md")
    arguments = parser.parse_args()
    videos = arguments.data.resolve() / "videos"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip in CLIPS:
            taught(clip, videos, folder)
        told, trace = watched(videos, folder)
        macs = mean_macs(trace)
    figures, rows = [], []
    for clip in CLIPS:
        spans = spans_of(clip)
        wrong, lost = wrong_changes(told[clip], spans), lost_states(told[clip], spans)
        figures.append(Figure(f"{clip}: wrong changes of state", len(wrong), 0, form="{:.0f}"))
        figures.append(Figure(f"{clip}: states that were not told", len(lost), 0, form="{:.0f}"))
        figures.append(Figure(f"{clip}: mean MACs of Lite0's", macs[clip], MEAN, form="{:.3f}"))
        course = ", ".join(f"{change.state} {change.at:.1f}" for change in told[clip])
        rows.append((clip, course, ", ".join(f"{span.label} {span.start:.1f}" for span in spans)))
    course = Table("What was told, from which second on, and what was there", ("clip", "told", "there"), rows)
    return finish("states.py", [limits(figures), course], "states.md" if arguments.write else None)


if __name__ == "__main__":
    sys.exit(main())
