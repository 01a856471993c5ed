"""The demo: real images that come with two packages, a run on them, and what may be said of it."""

from optidel.demo.data import demo_recipe, hospital_recipe
from optidel.demo.story import Chapter, story

__all__ = ["Chapter", "demo_recipe", "hospital_recipe", "story"]
