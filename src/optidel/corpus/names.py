"""How images are called in what leaves this machine: by their names, or by keyed hashes of them."""

from dataclasses import dataclass
from pathlib import Path

from optidel.corpus.groups import group_key, hashed
from optidel.errors import RecipeError, nearest

STYLES = ("plain", "hashed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names as pages and exports show them; ``key`` is None where they are shown as they are.

    >>> Names()("video-3/frame-0007.png")
    'video-3/frame-0007.png'
    """

    key: bytes | None = None

    @property
    def plain(self) -> bool:
        """Whether names are shown as they are."""
        return self.key is None

    def __call__(self, name: str) -> str:
        """The name, or its keyed hash: ``3f2a9c0154d0b1e7``."""
        if self.key is None:
            return name
        return hashed(self.key, "name", name) or ""

    def folder(self, path: Path | str) -> str:
        """What to call a folder: its last part, for where it lies says much of a machine and its user."""
        return self(Path(path).name or str(path))


def names_of(style: str, root: Path | None) -> Names:
    """The names of one run folder.

    Args:
        style: ``plain`` or ``hashed``.
        root: the run folder, which holds the key: equal names have equal hashes in all that is made from it,
            and whoever has the folder can find a name again. None for a page without a run.

    Raises:
        RecipeError: an unknown style.
    """
    if style not in STYLES:
        raise RecipeError(f"names are {' or '.join(STYLES)}, got {style!r}{nearest(style, STYLES)}")
    return Names(key=group_key(root) if style == "hashed" else None)
