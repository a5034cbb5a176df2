"""The page that helps to choose networks: its names and weights exist, and its MACs are those that are counted."""

import re
from pathlib import Path

import open_clip
import pytest
import timm

from adainf.backbones import RANDOM, Options, load
from adainf.backbones.macs import branch_space

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "choose-networks.md").read_text(encoding="utf-8")
ROWS = {
    (name, weights): (int(size), int(macs.replace(",", "")), int(skippable))
    for name, weights, size, macs, skippable in re.findall(
        r"^\| `(\S+)` \| `(\S+)` \| (\d+) \| [\d.]+ \| ([\d,]+) \| (\d+) % \|", PAGE, re.MULTILINE
    )
}


def test_networks_and_weights_exist() -> None:
    assert len(ROWS) > 30
    for name, weights in ROWS:
        family, _, rest = name.partition("/")
        if family == "timm":
            assert f"{rest}.{weights}" in timm.list_models(f"{rest}.*", pretrained=True)
        else:
            assert weights in open_clip.list_pretrained_tags_by_model(rest)
    named = set(re.findall(r"`((?:timm|openclip)/[^`]+)`", PAGE))
    assert named <= {name for name, _ in ROWS}


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("timm/lcnet_050", "ra2_in1k"),
        ("timm/mobilenetv4_conv_medium", "e500_r256_in1k"),
        ("timm/ghostnetv3_100", "in1k"),
        ("openclip/MobileCLIP2-S0", "dfndr2b"),
    ],
)
def test_macs_are_those_counted(name: str, weights: str) -> None:
    size, macs, skippable = ROWS[name, weights]
    backbone = load(name, Options(RANDOM, labels=("a", "b", "c") if name.startswith("openclip/") else (), size=size))
    space = branch_space(backbone)
    full = space.macs(space.full)
    assert macs == round(full / 1e6)
    assert skippable == round(100 * (1 - space.macs(space.cheapest) / full))
