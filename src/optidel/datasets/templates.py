"""Path templates: ``images/{id}.{ending}`` against the files of a folder."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

RASTER_ENDINGS = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "gif")
VIDEO_ENDINGS = ("avi", "mp4", "mkv", "mov", "mpg", "wmv")
NOT_KEY = ("ending", "class", "folders", "region")
"""Fields in which an image and its masks may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A file, the fields that its template found in its path, and what else the set tells of it (centre,
    sequence).
    """

    path: str
    fields: Mapping[str, str]
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What an image shares with its annotation. PolypGen has one image whose name ends in ``_`` and whose
        mask's does not.
        """
        return tuple(
            sorted((name, value.rstrip("_")) for name, value in self.fields.items() if name not in NOT_KEY)
        )


@lru_cache(maxsize=512)
def compile_template(template: str, classes: tuple[str, ...] = ()) -> re.Pattern[str]:
    """A template as a regular expression over whole paths, without regard to case."""
    known = {
        "ending": "|".join((*RASTER_ENDINGS, *VIDEO_ENDINGS)),
        "class": "|".join(map(re.escape, sorted(classes, key=len, reverse=True))) or r"[^/]+",
        "folders": r".+",
        "number": r"\d+",
    }
    pieces, seen = [], set()
    for piece in re.split(r"(\{\w+\})", template):
        if not piece.startswith("{"):
            pieces.append(re.escape(piece))
        elif (name := piece[1:-1]) in seen:
            pieces.append(f"(?P={_group(name)})")
        else:
            seen.add(name)
            pieces.append(f"(?P<{_group(name)}>{known.get(name, r'[^/]+')})")
    return re.compile("".join(pieces), re.IGNORECASE)


def _group(name: str) -> str:
    return f"f_{name}"  # ``class`` and the like are fields, and may not clash with what a regular expression reserves


Shelves = Mapping[str, Sequence[str]]
"""Paths by their first folder in lower case (files of the root under the empty string), so that a template
looks only where it can fit.
"""


def shelve(paths: Iterable[str]) -> Shelves:
    """Paths by their first folder."""
    shelves: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        shelves[path.partition("/")[0].lower() if "/" in path else ""].append(path)
    return shelves


def match_all(templates: Iterable[str], shelves: Shelves, classes: tuple[str, ...] = ()) -> list[Match]:
    """The paths that fit one of the templates, sorted, each with the fields of the first that it fits."""
    found: dict[str, Match] = {}
    for template in templates:
        pattern = compile_template(template, classes)
        for path in _where(template, shelves):
            if path not in found and (hit := pattern.fullmatch(path)):
                found[path] = Match(
                    path=path, fields={name[2:]: value for name, value in hit.groupdict().items()}
                )
    return [found[path] for path in sorted(found)]


def _where(template: str, shelves: Shelves) -> Iterator[str]:
    folder, inside, _ = template.partition("/")
    start = folder.partition("{")[0].lower() if inside else ""
    for name, paths in shelves.items():
        if (name == start) if "{" not in folder or not inside else (name and name.startswith(start)):
            yield from paths
