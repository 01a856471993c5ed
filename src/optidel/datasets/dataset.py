"""What is known about a published set: its size, its terms, where it lies on disk and how it may be split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["pre-training", "downstream"]
# How a mask file is read. ``binary``: foreground from half the range; ``instances``: every value above 0 is
# foreground, each value one object; ``layers``: one channel or page a class; ``classes``: one file a class,
# named in the file's name; ``concepts``: labels or captions of whole images, so nothing to segment; ``none``:
# images alone.
Annotation = Literal["none", "binary", "instances", "layers", "classes", "concepts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One folder tree of a set. Paths are templates relative to the set's root, with fields in braces.

    ``{ending}`` is any raster ending, ``{class}`` one of the set's classes, ``{folders}`` any folders in
    between, ``{number}`` digits; every other field stands for one name, and a field used twice must say the
    same twice. An image and its masks have equal fields, those three aside. ``count`` are the published
    numbers of images (any of them is right); ``negative``: images without a mask show nothing and count as
    background; ``split``: the part is this side of the official split; ``needed``: its absence is a fault.
    """

    name: str
    images: str
    masks: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    count: tuple[int, ...] = ()
    kind: Literal["images", "videos"] = "images"
    negative: bool = False
    split: Literal["", "train", "validation", "test"] = ""
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which a set is published.

    ``ids``: regular expression that the whole ``{id}`` of every image matches, or empty. ``generic``: other
    sets look the same, so the folder's name, or ids and the exact count together, must speak for this one.
    ``lists``: side of the official split and the file that lists its ids.
    """

    title: str
    parts: tuple[Part, ...]
    ids: str = ""
    generic: bool = False
    lists: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One set of DataDEL, or one of your own.

    ``images`` and ``videos`` are published numbers, ``centres`` hospitals (0: not known). ``classes`` are the
    foreground classes in the order in which they are painted where they overlap, the last on top;
    ``channels`` the same names in the order of a file's pages.
    ``box_format``: ``fractions`` (class number, centre x, y, width, height) or ``corners`` (x1 y1 x2 y2
        class, px), with ``box_classes``.
    ``pattern``: regular expression searched for in an image's path, its named groups are further fields;
    ``ranges``: first and last number of each video sequence, where images are numbered through.
    ``unit``: the fields that name the split unit, the first that an image has; empty: no unit is published.
    ``alone``: without a unit the set has no safe split of its own and is tested on as a whole.
    ``contained_in``: sets that hold these images; ``may_share``: sets of the same source whose overlap nobody
    published. ``unverified``: fields that no source of ``sources`` confirmed.
    """

    name: str
    title: str
    role: Role
    task: str
    annotation: Annotation
    layouts: tuple[Layout, ...]
    images: int = 0
    videos: int = 0
    centres: int = 0
    licence: str = ""
    url: str = ""
    paper: str = ""
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    box_format: Literal["", "fractions", "corners"] = ""
    box_classes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    pattern: str = ""
    ranges: tuple[tuple[int, int], ...] = ()
    unit: tuple[str, ...] = ()
    alone: bool = False
    contained_in: tuple[str, ...] = ()
    may_share: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        """In words, how the set may be split."""
        if self.unit:
            return f"by {', else by '.join(self.unit)}"
        if any(layout.lists for layout in self.layouts) or any(
            part.split for layout in self.layouts for part in layout.parts
        ):
            return "the official split"
        if self.annotation in ("none", "concepts"):
            return "not split"
        return "test on the whole set" if self.alone else "by image (no patient or video is published)"


Registry = Mapping[str, Dataset]
