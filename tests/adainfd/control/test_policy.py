from pathlib import Path

import pytest

from adainf.base.errors import InvalidInputError
from adainf.control import Policy
from adainf.control.policy import CeilingRule, DemandRule
from adainf.shipped import calibration_folder

SHIPPED = sorted(file.stem for file in (calibration_folder() / "policies").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_policies_are_valid(name: str) -> None:
    assert Policy.read(name).budget.minimum <= Policy.read(name).budget.maximum


def test_balanced_is_shipped() -> None:
    assert "balanced" in SHIPPED


@pytest.mark.parametrize(
    ("signal", "budget"),
    [(0, 0.2), (0.1, 0.2), (0.2, 0.4), (0.3, 0.6), (0.45, 0.7), (0.5, 0.7333333), (0.9, 1.0), (1, 1.0)],
)
def test_curve_is_straight_between_its_points_and_level_beyond(signal: float, budget: float) -> None:
    rule = DemandRule(curve=((0.1, 0.2), (0.3, 0.6), (0.9, 1.0)))
    assert rule.at(signal) == pytest.approx(budget)


def test_curve_of_one_point_is_level() -> None:
    rule = CeilingRule(curve=((0.5, 0.7),))
    assert [rule.at(signal) for signal in (0, 0.5, 1)] == [0.7, 0.7, 0.7]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[budget]\nmaximun = 1", ["budget.maximun", "did you mean maximum?"]),
        ("[budgets]\n", ["budgets", "did you mean budget?"]),
        ("[budget]\nmaximum = 1.5", ["budget.maximum", "1.5", "less than or equal to 1"]),
        ("[budget]\nminimum = 0", ["budget.minimum", "0", "greater than 0"]),
        ("[budget]\nmaximum = nan", ["budget.maximum", "nan", "finite"]),
        ("[budget]\nrise_per_second = inf", ["budget.rise_per_second", "inf", "finite"]),
        ("[budget]\nmaximum = 0.3\nminimum = 0.5", ["budget", "0.5", "0.3"]),
        ("[budget]\nmaximum = 'much'", ["budget.maximum", "much", "number"]),
        ("[motion]\ncurve = []", ["motion.curve", "at least one"]),
        ("[motion]\ncurve = [[0.2, 0.5], [0.2, 0.6]]", ["motion.curve", "rise"]),
        ("[motion]\ncurve = [[0.0, 0.5], [0.2, 0.4]]", ["motion.curve", "must not fall"]),
        ("[motion]\ncurve = [[0.0, nan]]", ["motion.curve", "nan", "finite"]),
        ("[motion]\ncurve = [[0.0, 0.5, 0.7]]", ["motion.curve"]),
        ("[contention]\ncurve = [[0.0, 0.5], [0.2, 0.6]]", ["contention.curve", "must not rise"]),
        ("[contention]\ncurve = [[-0.1, 0.5]]", ["contention.curve", "-0.1", "greater than or equal to 0"]),
        ("[contention]\n", ["contention.curve", "missing"]),
        ("[heat]\ncurve = [[70, 0.2], [80, 0.5]]", ["heat.curve", "must not rise"]),
        ("[heat]\ncurve = [[700, 0.2]]", ["heat.curve", "700", "less than or equal to 200"]),
        ("[deadline]\nmilliseconds = 0", ["deadline.milliseconds", "0", "greater than 0"]),
        ("[deadline]\nmilliseconds = 20\nquantile = 0.1", ["deadline.quantile", "0.1", "0.5"]),
        ("[deadline]\nmilliseconds = 20\nquantil = 1", ["deadline.quantil", "did you mean quantile?"]),
        ("[share]\nbusy = 1.2", ["share.busy", "1.2", "less than or equal to 1"]),
        ("[reuse]\nchange = 0.1", ["reuse.seconds", "missing"]),
        ("[audit]\nshare = -1", ["audit.share", "-1", "greater than or equal to 0"]),
        ("[budget\n", ["is not TOML", "line 1"]),
    ],
)
def test_refused_policies(tmp_path: Path, text: str, named: list[str]) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        Policy.read(str(file))
    assert "\n" not in str(refused.value)
    for thing in [str(file), *named]:
        assert thing in str(refused.value)
