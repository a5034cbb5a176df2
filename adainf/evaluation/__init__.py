"""How good and how fast a backbone's branches are: calibration, timing, evaluation of a profile."""
