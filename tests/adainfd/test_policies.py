"""Which policy is in force for which camera."""

from pathlib import Path

import pytest
from adainfd.config.configuration import Configuration
from adainfd.runtime.policies import Policies


def test_a_share_is_kept_by_all_cameras_of_a_policy_together(tmp_path: Path) -> None:
    (tmp_path / "half.toml").write_text("[share]\nbusy = 0.5\n")
    cameras = [
        {"name": "a", "source": "a.mp4"},
        {"name": "b", "source": "b.mp4", "priority": 3, "regions": {"x": (0, 0, 1, 1), "y": (0, 0, 0.5, 1)}},
        {"name": "c", "source": "c.mp4", "policy": str(tmp_path / "half.toml")},
        {"name": "d", "source": "d.mp4", "policy": "balanced"},
    ]
    policies = Policies.read(Configuration.model_validate({"model": {"policy": "power-saver"}, "camera": cameras}))
    whole = policies.general.share
    assert whole is not None

    def busy(camera: str, views: int) -> float | None:
        share = policies.of(camera, views).share
        return None if share is None else share.busy

    assert busy("a", 1) == pytest.approx(whole.busy / 4)
    assert busy("b", 2) == pytest.approx(whole.busy * 3 / 8)
    assert busy("c", 1) == 0.5
    assert busy("d", 1) is None
