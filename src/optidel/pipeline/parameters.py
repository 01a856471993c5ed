"""The parameters of the recipe's methods: checked against their functions, without those at their default."""

import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from optidel.errors import RecipeError
from optidel.methods import MEASURED_ON_HELD_OUT, method_named
from optidel.methods.inputs import accepted, check_parameters
from optidel.recipe import Recipe


def held_out_needed(method: str) -> str:
    """Why a method cannot run without held-out frames, and what to do."""
    return (
        f"method {method!r} chooses by what lowers the held-out V-entropy, and no frame is held out; set "
        "corpus.holdout = 0.03 or more in the recipe (a corpus of fewer than 1,000 frames holds none out by "
        "default)"
    )


def check_methods(recipe: Recipe) -> None:
    """Refuse a method that does not exist, and a parameter that its method does not have or cannot take.

    Raises:
        RecipeError: names the nearest method, or parameter; or the method needs what the recipe does not
            name.
    """
    if recipe.optidel.alone and recipe.optidel.compose != "deal":
        raise RecipeError(
            f"optidel.alone = {recipe.optidel.alone:g} shows patches alone that are dealt at every step, and "
            'optidel.compose is "frozen"; set it to "deal", or leave out optidel.alone'
        )
    for method in recipe.methods:
        _check_method(method)
        _check_needs(recipe, method)
    # A table for a method that does not run is checked all the same: it may be a slip of the name.
    for method in recipe.method:
        _check_method(method, "recipe: method: ")
        parameters(recipe, method)


def _check_needs(recipe: Recipe, method: str) -> None:
    """Refuse a method whose input the recipe does not name.

    Raises:
        RecipeError: says which key to set.
    """
    needs = method_named(method).needs
    if needs in MEASURED_ON_HELD_OUT and recipe.corpus.holdout == 0:
        raise RecipeError(held_out_needed(method))
    if needs == "target" and recipe.selection.target is None:
        raise RecipeError(
            f"method {method!r} needs images of the target; set selection.target to a folder with some tens "
            "of unlabelled ones (--target DIR)"
        )


def _check_method(method: str, where: str = "") -> None:
    try:
        method_named(method)
    except RecipeError as error:
        raise RecipeError(f"{where}{error}") from None


def parameters(recipe: Recipe, method: str) -> dict[str, Any]:
    """What a run hands to a method: only the parameters that differ from the method's own defaults.

    Those of ``[method.NAME]``, and, for a method of key patches that knows it, ``optidel.diversity``.

    Raises:
        RecipeError: a parameter that the method does not have, or a value of another type.
    """
    function = method_named(method).select
    values: dict[str, Any] = {}
    if method_named(method).unit == "key patch" and "diversity" in accepted(function):
        values["diversity"] = recipe.optidel.diversity

    # The method's own table wins over the section, which is older.
    section = recipe.method.get(method, {})
    check_parameters(method, function, section)
    values |= _typed(method, section)

    # A value at its default is left out, so that it makes no difference whether it is written down.
    signature = inspect.signature(function).parameters
    return {name: value for name, value in values.items() if value != signature[name].default}


def _typed(method: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the method's annotations want them: a list of TOML becomes a tuple, for example."""
    hints = get_type_hints(method_named(method).select)
    values = {}
    for name, value in section.items():
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(value)
        except PydanticSchemaGenerationError as error:  # an array, for example
            raise RecipeError(
                f"recipe: method.{method}.{name} is no value that a recipe can hold; "
                "pass it to optidel.select instead"
            ) from error
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise RecipeError(
                f"recipe: method.{method}.{name}: {reason[0].lower()}{reason[1:]}, got {value!r}"
            ) from error
    return values
