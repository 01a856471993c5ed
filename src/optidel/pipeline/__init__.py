"""The only wiring: a recipe becomes steps, steps become artifacts."""

from optidel.pipeline.run import STEPS, Pipeline, Result, run

__all__ = ["STEPS", "Pipeline", "Result", "run"]
