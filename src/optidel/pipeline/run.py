"""A run from images to report: one call."""

from pathlib import Path
from typing import Any

from optidel.errors import extras_named
from optidel.pipeline.pipeline import Pipeline, Result
from optidel.recipe import Recipe, load_recipe, make_recipe

__all__ = ["Pipeline", "Result", "run"]


def run(recipe: Recipe | dict[str, Any] | str | Path) -> Result:
    """Run a recipe from images to report; what was done before, by this or a killed run, is reused.

    Args:
        recipe: a Recipe, its values, or the path of a TOML file.

    Returns:
        The tables and the path of the report.

    Raises:
        OptidelError: input, recipe or run folder cannot be used; what was computed stays.

    Example:
        >>> import optidel
        >>> result = optidel.run("recipe.toml")  # doctest: +SKIP
        >>> result.table.select("method", "miou")  # doctest: +SKIP
    """
    if isinstance(recipe, dict):
        recipe = make_recipe(recipe)
    elif not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    with extras_named():
        return Pipeline(recipe).finish()
