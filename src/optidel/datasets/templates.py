"""Path templates: ``images/{id}.{ending}`` against the files of a folder."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

RASTER_ENDINGS = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "gif")
VIDEO_ENDINGS = ("avi", "mp4", "mkv", "mov", "mpg", "wmv")

# Fields in which an image and its masks may differ.
NOT_KEY = ("ending", "class", "folders", "region")

# Templates kept compiled: more than all sets have together, so that each is compiled once.
COMPILED = 512


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
        """What an image shares with its annotation."""
        # PolypGen has one image whose name ends in an underscore and whose mask's does not.
        shared = {name: value.rstrip("_") for name, value in self.fields.items() if name not in NOT_KEY}
        return tuple(sorted(shared.items()))


@lru_cache(maxsize=COMPILED)
def compile_template(template: str, classes: tuple[str, ...] = ()) -> re.Pattern[str]:
    """A template as a regular expression over whole paths, without regard to case."""
    longest_first = sorted(classes, key=len, reverse=True)
    expressions = {
        "ending": "|".join((*RASTER_ENDINGS, *VIDEO_ENDINGS)),
        "class": "|".join(map(re.escape, longest_first)) or r"[^/]+",
        "folders": r".+",
        "number": r"\d+",
    }
    pieces = []
    names: set[str] = set()
    for piece in re.split(r"(\{\w+\})", template):
        name = piece[1:-1]
        if not piece.startswith("{"):
            pieces.append(re.escape(piece))
        elif name in names:
            pieces.append(f"(?P={_group(name)})")
        else:
            names.add(name)
            expression = expressions.get(name, r"[^/]+")
            pieces.append(f"(?P<{_group(name)}>{expression})")
    return re.compile("".join(pieces), re.IGNORECASE)


def _group(name: str) -> str:
    # ``class`` and the like are fields, and may not clash with what a regular expression reserves.
    return f"f_{name}"


# Paths by their first folder in lower case (files of the root under the empty string), so that a template
# looks only where it can fit.
Shelves = Mapping[str, Sequence[str]]


def shelve(paths: Iterable[str]) -> Shelves:
    """Paths by their first folder."""
    shelves: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, slash, _ = path.partition("/")
        shelves[folder.lower() if slash else ""].append(path)
    return shelves


def match_all(templates: Iterable[str], shelves: Shelves, classes: tuple[str, ...] = ()) -> list[Match]:
    """The paths that fit one of the templates, sorted, each with the fields of the first that it fits."""
    matches: dict[str, Match] = {}
    for template in templates:
        pattern = compile_template(template, classes)
        for path in _candidates(template, shelves):
            hit = None if path in matches else pattern.fullmatch(path)
            if hit:
                fields = {name.removeprefix("f_"): value for name, value in hit.groupdict().items()}
                matches[path] = Match(path=path, fields=fields)
    return [matches[path] for path in sorted(matches)]


def _candidates(template: str, shelves: Shelves) -> Iterator[str]:
    """The paths whose first folder is that of the template, or begins as it does before a field."""
    folder, slash, _ = template.partition("/")
    start = folder.partition("{")[0].lower() if slash else ""
    is_fixed = "{" not in folder or not slash
    for name, paths in shelves.items():
        fits = name == start if is_fixed else bool(name) and name.startswith(start)
        if fits:
            yield from paths
