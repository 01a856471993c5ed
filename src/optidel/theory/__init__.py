"""Why pruning can work, in a model that can be solved: a max-margin student of a teacher perceptron."""

from optidel.theory.figure import figure
from optidel.theory.perceptron import Overlap, perceptron_error, student_overlap
from optidel.theory.simulation import EXPERIMENTS, Experiment, max_margin, run_experiment
from optidel.theory.window import Window, best_window, probe_angle

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Overlap",
    "Window",
    "best_window",
    "figure",
    "max_margin",
    "perceptron_error",
    "probe_angle",
    "run_experiment",
    "student_overlap",
]
