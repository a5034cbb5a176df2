"""The doctor and `check-config` agree: one says fail where the other ends with 78, about the same things."""

import os
from pathlib import Path
from typing import Any

import pytest
from adainfd.doctor import configured
from adainfd.doctor.settings import check
from adainfd.wire.keys import KeyPair
from daemons import Network
from generated import generous
from hypothesis import example, given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.profile import Profile

CHECKED = {"configuration", "policy", "profile", "weights", "run", "keys"}

# What stands for each part: the sound one first.
MODELS = (
    "",
    'engine = "abacus"\n',
    'device = "cpu:x"\n',
    "size = 64\n",
    'labels = ["too", "few"]\n',
    'run = "nosuch"\n',
    "threads = 0\n",
)
WEIGHTS = ("resnet20.safetensors", "nosuch.safetensors", "noise.safetensors", "folder")
PROFILES = ("resnet20.json", "nosuch.json", "cut.json", "efficientnet-lite0", "narrow.json")
POLICIES = ("balanced", "nosuch", "nosuch.toml", "wrong.toml", "folder", "mine.toml")
OWN_POLICIES = (None, *POLICIES)
LABELS = (None, "class 3", "unicorn")
KEYS = (
    None,
    ("box.key_secret", "clients"),
    ("box.key", "clients"),
    ("nosuch.key_secret", "clients"),
    ("open.key_secret", "clients"),
    ("box.key_secret", "nosuch"),
    ("box.key_secret", "strangers"),
    ("/run/credentials/none.service/keys_nosuch.key_secret", "clients"),
)


@pytest.fixture(scope="module")
def folder(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("configurations")
    for name in ("folder", "clients", "strangers"):
        (made / name).mkdir()
    for file in (network.weights, network.profile):
        (made / file.name).write_bytes(file.read_bytes())
    (made / "noise.safetensors").write_bytes(os.urandom(3000))
    (made / "cut.json").write_bytes(network.profile.read_bytes()[:900])
    profile = Profile.read(network.profile)
    text = network.profile.read_text(encoding="utf-8").replace('"resnet20"', '"resnet32"')
    (made / "narrow.json").write_text(text.replace("cifar/resnet20", "cifar/resnet32"), encoding="utf-8")
    of_others = profile.reference.model_copy(update={"weights": "0" * 64})
    profile.model_copy(update={"networks": (of_others,)}).write(made / "others.json")
    (made / "mine.toml").write_text("[budget]\nmaximum = 0.5\n", encoding="utf-8")
    (made / "wrong.toml").write_text("[budget]\nmaximum = 5\n", encoding="utf-8")
    for stem in ("box", "open", "clients/friend"):
        KeyPair.new(made / stem)
    (made / "open.key_secret").chmod(0o644)
    (made / "strangers" / "odd.key").write_text("no key\n", encoding="utf-8")
    return made


@given(
    model=st.sampled_from(MODELS),
    weights=st.sampled_from(WEIGHTS),
    profile=st.sampled_from((*PROFILES, "others.json")),
    policy=st.sampled_from(POLICIES),
    own=st.sampled_from(OWN_POLICIES),
    label=st.sampled_from(LABELS),
    keys=st.sampled_from(KEYS),
)
@example(MODELS[0], WEIGHTS[0], "others.json", "balanced", "mine.toml", "class 3", KEYS[1])
@example(MODELS[0], WEIGHTS[0], PROFILES[0], "balanced", "wrong.toml", None, None)
@example(MODELS[0], WEIGHTS[0], PROFILES[0], "balanced", None, "unicorn", None)
@example(MODELS[1], WEIGHTS[0], PROFILES[0], "balanced", None, None, None)
@example(MODELS[4], WEIGHTS[0], PROFILES[0], "balanced", None, None, None)
@example(MODELS[0], WEIGHTS[2], PROFILES[0], "balanced", None, None, None)
@example(MODELS[0], WEIGHTS[0], PROFILES[0], "balanced", None, None, KEYS[4])
@example(MODELS[0], WEIGHTS[0], PROFILES[0], "balanced", None, None, KEYS[7])
@generous(25)
def test_it_agrees_with_check_config(
    folder: Path,
    clip: Path,
    tmp_path_factory: Any,
    model: str,
    weights: str,
    profile: str,
    policy: str,
    own: str | None,
    label: str | None,
    keys: tuple[str, str] | None,
) -> None:
    file = folder / "c.toml"
    file.write_text(
        f'''
[model]
backbone = "cifar/resnet20"
weights = "{weights}"
profile = "{profile}"
policy = "{policy}"
{model}
[publish]
bind = ["ipc://s"]
{f'key = "{keys[0]}"{chr(10)}clients = "{keys[1]}"' if keys else ""}
[[camera]]
name = "door"
source = "{clip}"
{f'policy = "{own}"' if own else ""}
{f'labels = ["{label}"]' if label else ""}
''',
        encoding="utf-8",
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        failed = {found.subject for found in configured.examine(file) if found.verdict == "fail"}
        try:
            check(file)
            refused = None
        except InvalidInputError as error:
            refused = str(error)
    finally:
        os.chdir(before)
    assert bool(failed & CHECKED) == (refused is not None), (failed, refused)
    assert failed <= CHECKED
    sound = (model, weights, policy, label) == (MODELS[0], WEIGHTS[0], "balanced", None)
    if sound and profile == PROFILES[0] and own in (None, "balanced", "mine.toml") and keys in KEYS[:2]:
        assert refused is None


@pytest.mark.parametrize(("url", "good"), [("mqtt://broker.local", True), ("http://broker.local", False)])
def test_a_relays_file_is_looked_at_as_a_relays(tmp_path: Path, url: str, good: bool) -> None:
    file = tmp_path / "all.toml"
    file.write_text(f'[[box]]\nconnect = "tcp://127.0.0.1:5600"\n[mqtt]\nurl = "{url}"\n', encoding="utf-8")
    found = [(finding.verdict, finding.subject) for finding in configured.examine(file)]
    assert found == [("ok", "seen as"), ("ok", "relay") if good else ("fail", "configuration")]
    if good:
        assert "relay of tcp://127.0.0.1:5600" in check(file)
    else:
        with pytest.raises(InvalidInputError, match="mqtt"):
            check(file)
