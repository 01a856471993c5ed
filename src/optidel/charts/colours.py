"""A colour for each method, the same in every figure and on every page."""

from collections.abc import Sequence

# What is no method: from scratch, a warm-up, all items.
GREY = "#868c95"

# After Okabe and Ito's palette, which people with any colour vision can tell apart. Each is lightened or
# darkened until it stands at 3 to 1 or more on white and on the pages' dark paper (WCAG 2.2, graphical
# objects).
COLOURS = {
    "scratch": GREY,
    "full": "#2f80e4",
    "random": "#b97e20",
    "meddel": "#c43bb4",
    "optidel": "#12866a",
    "optidel-paper": "#cc2448",
}

# For all other methods, in the order in which they appear; their markers differ too.
OTHERS = (
    "#c8571b",
    "#3b95bf",
    "#7d63c4",
    "#87802a",
    "#a3694a",
    "#5f8f3f",
    "#b0546a",
    "#4c8a92",
    "#9a6fb0",
    "#a58046",
)


def colour_of(methods: Sequence[str]) -> dict[str, str]:
    """The colour of each method; ten without a fixed colour differ, then colours repeat.

    >>> colour_of(["random", "ccs"])["random"]
    '#b97e20'
    """
    colours: dict[str, str] = {}
    others = 0
    for method in methods:
        if method in COLOURS:
            colours[method] = COLOURS[method]
        else:
            colours[method] = OTHERS[others % len(OTHERS)]
            others += 1
    return colours
