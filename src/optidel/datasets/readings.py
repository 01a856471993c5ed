"""The one reading of all masks of a set: which codes are which class, found from every file of the set.

Per file a :class:`Census` is taken; :func:`find_reading` looks at all of them together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Int32, UInt8
from scipy import ndimage

from optidel.arrays import VOID
from optidel.datasets.masks import (
    COLOUR,
    ShownMask,
    brightness,
    code_name,
    count_codes,
    foreground,
    parse_code,
    unpack,
)
from optidel.errors import InputError

# How masks are read. ``auto``: found from all files. ``half``: bright is foreground. ``foreground``: whatever
# is not background is one class. ``values``: each stored value is a class, also behind a palette.
# ``colours``: each colour or grey level is a class.
MaskRule = Literal["auto", "half", "foreground", "values", "colours"]

# More values are no classes: the largest set known to us has 20.
MAX_CLASSES = 64

# Beside numbers of classes what many frameworks call void, alone the foreground of signed masks.
NEGATIVE = -1

# Up to this many values are taken for classes, unless they lie on edges alone.
PLAIN_VALUES = 8

# Grey levels within an eighth of black or of white belong to it in a mask that was smoothed or compressed.
DARK, BRIGHT = 32, 223

# Of the pixels of a real class, more than this share has neighbours of the same class, unless it is thin.
EDGE_ALONE = 0.02

# A mask blurred over 4 px, regions of 30 px, has up to 2 times as many grey pixels as bright ones.
BLURRED = 3

# A grey level is a class of a JPEG mask where most pixels around it lie within this many levels.
PEAK = 6

# A peak must hold this share of all pixels.
PEAK_SHARE = 0.01

# From this many numbers on, numbers that go 1, 2, 3, … in every file count objects, not classes.
INSTANCES = 8

# From this many numbers on a person is asked to look; three classes are common, and come and go by image.
FEW_OBJECTS = 4

# Objects that overlap hide or cut each other now and then.
MOST = 0.9

# Fewer than eight numbers are taken for objects only if at least this many files agree.
FEW_FILES = 5

# Files in which single objects are looked for; all files of a set are numbered alike.
EVIDENCE_FILES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What the positive values of one file look like as regions.

    ``count`` values are there, the highest is ``top``. ``single``: how many are one connected piece.
    ``ordered``: their first pixels, row by row, come in rising order.
    ``nested``: one lies inside another's box.
    """

    count: int
    top: int
    single: int
    ordered: bool
    nested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What one mask file holds: pixels of each code, pixels of each whose four neighbours are alike, and the
    regions of its values (None where it was not looked at). ``inverted``: the file says that zero is white;
    ``by_alpha``: its alpha channel is the mask.
    """

    counts: Counter[int]
    inner: Counter[int]
    lossy: bool
    palette: tuple[tuple[int, int], ...]
    objects: Objects | None
    inverted: bool = False
    by_alpha: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Codes to classes.

    ``rule``: ``half``, or ``table``, by which ``codes`` become ``numbers`` (``VOID`` for void; a code that is
    not listed, as JPEG makes them, takes the nearest). ``classes`` counts the background and not void.
    ``text`` says it to people; ``plain``: it says what everybody expects.
    """

    rule: Literal["half", "table"]
    codes: tuple[int, ...]
    numbers: tuple[int, ...]
    classes: int
    text: str
    plain: bool = False
    stored: bool = False

    def apply(self, codes: Int32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """The class of every pixel."""
        if self.rule == "half":
            return foreground(brightness(codes)).astype(np.uint8)
        order = np.argsort(self.codes)
        table = np.array(self.codes)[order]
        numbers = np.array(self.numbers, dtype=np.uint8)[order]
        last = len(table) - 1
        rows = np.searchsorted(table, codes).clip(max=last)
        unlisted = table[rows] != codes
        if unlisted.any():
            rows[unlisted] = _nearest(codes[unlisted], table)
        return np.asarray(numbers[rows])


def take_census(mask: ShownMask, *, look: bool = True) -> Census:
    """Count one mask; ``look``: also at the regions of its values."""
    codes = mask.codes
    alike = np.zeros(codes.shape, dtype=np.bool_)
    middle = codes[1:-1, 1:-1]
    alike[1:-1, 1:-1] = (
        (middle == codes[:-2, 1:-1])
        & (middle == codes[2:, 1:-1])
        & (middle == codes[1:-1, :-2])
        & (middle == codes[1:-1, 2:])
    )
    inner = count_codes(codes[alike]) if alike.any() else Counter()
    return Census(
        counts=mask.counts(),
        inner=inner,
        lossy=mask.lossy,
        palette=tuple(sorted(mask.palette.items())),
        objects=_objects(_values_of(mask)) if look and not mask.lossy else None,
        inverted=mask.inverted,
        by_alpha=mask.by_alpha,
    )


def add_census(files: list[Census], file: Census) -> None:
    """Append a census; lossy files are counted as one, or memory would grow with 256 grey levels for each."""
    if file.lossy and files and files[0].lossy:
        files[0].counts.update(file.counts)
        files[0].inner.update(file.inner)
    elif file.lossy:
        files.insert(0, file)
    else:
        files.append(file)


def find_reading(
    files: Sequence[Census], name: str, rule: MaskRule = "auto", ignore: Sequence[str | int] = ()
) -> Reading:
    """One reading of all masks of a set.

    Args:
        files: a census of every mask.
        name: of the set, for messages.
        rule: how to read, where the user says so.
        ignore: values or colours (``"#e0e0c0"``) that are void.

    Raises:
        InputError: nothing to segment, or values that are no classes.
    """
    counts: Counter[int] = sum((file.counts for file in files), Counter())
    void = {parse_code(item) for item in ignore}
    absent = sorted(void - counts.keys())
    if absent:
        listed = ", ".join(code_name(code) for code in absent)
        present = _list(sorted(counts))
        raise InputError(f"evaluate.ignore names {listed}, but the masks of {name} hold {present}")

    codes = sorted(counts.keys() - void)
    if len(codes) < 2:
        value = code_name(codes[0]) if codes else "nothing"
        raise InputError(
            f"the masks of {name} hold the value {value} only, so there is nothing to segment; check masks/"
        )

    if rule == "half":
        reading = _half("128 and above is foreground")
    elif rule == "foreground":
        reading = _one_class(codes, void, _background(codes, counts), "all but the background is one class")
    elif rule in ("values", "colours"):
        reading = _table(codes, void, name, background=_background(codes, counts), stored=rule == "values")
    else:
        reading = _found(files, counts, codes, void, name)
    return _with_hints(reading, files)


def _with_hints(reading: Reading, files: Sequence[Census]) -> Reading:
    """A reading that says how many masks state that zero is white, or are read by their alpha channel."""
    inverted = sum(file.inverted for file in files)
    by_alpha = sum(file.by_alpha for file in files)
    text = reading.text
    if inverted:
        # tifffile writes arrays of bool so: what was True is then black to every viewer, and here.
        text += (
            f"; {inverted} of {len(files)} mask files state that zero is white, and are read as a viewer "
            "shows them; if tifffile wrote them from bool, True became black: write them with "
            'photometric="minisblack"'
        )
    if by_alpha:
        text += (
            f"; {by_alpha} of {len(files)} mask files show one colour or a photograph through an alpha "
            "channel, which is the mask: what is opaque is foreground "
            '(evaluate.masks = "values" reads the colours)'
        )
    return reading if text == reading.text else replace(reading, text=text, plain=False)


def _found(
    files: Sequence[Census], counts: Counter[int], codes: list[int], void: set[int], name: str
) -> Reading:
    """The reading that the files themselves suggest; what is surest is asked first."""
    binary = _binary(files, codes)
    if binary is not None and not void:
        return binary
    if codes == [NEGATIVE, 0] and not void:
        # What 255 becomes in signed bytes, and True in some languages.
        return _one_class(codes, void, 0, "the mask values -1, 0: -1 is foreground")
    if codes[0] == NEGATIVE and 0 < codes[-1] < MAX_CLASSES and not void:
        void, codes = {NEGATIVE}, codes[1:]
    if not void and _are_objects(files):
        return _foreground_of_objects(files, codes, counts)
    if codes[-1] >= COLOUR:
        return _colours(files, counts, codes, void, name)

    levels = _grey_levels(files, counts, codes, name)
    if levels is not None:
        return levels
    if not void and _is_void(files, codes):
        void, codes = {VOID}, codes[:-1]
    reading = _table(codes, void, name, background=codes[0])
    if not _may_be_objects(files):
        return reading
    hint = (
        "; each is one connected piece, counted from 1 in every file: if they number instances, set "
        'evaluate.masks = "foreground"'
    )
    return replace(reading, text=reading.text + hint, plain=False)


def _foreground_of_objects(files: Sequence[Census], codes: list[int], counts: Counter[int]) -> Reading:
    highest = max(file.objects.top for file in files if file.objects)
    return _one_class(
        codes,
        set(),
        _background(codes, counts),
        f"the mask values, up to {highest}, are numbers of instances and no classes, so all of them are "
        'one class, foreground; evaluate.masks = "values" in the recipe makes each a class',
    )


def _binary(files: Sequence[Census], codes: list[int]) -> Reading | None:
    """One class written in several ways: 0 and 1, 0 and 255, black and one colour; one way in each file."""
    bright = [code for code in codes if code != 0]
    grey = [code for code in bright if code < COLOUR]
    several = any(len(file.counts.keys() - {0}) > 1 for file in files)
    if codes[0] != 0 or several or not set(grey) <= {1, 255} or len(bright) - len(grey) > 1:
        return None
    text = f"{_list(bright)} are foreground alike" if len(bright) > 1 else f"{_list(bright)} is foreground"
    return Reading(
        rule="table",
        codes=tuple(codes),
        numbers=(0, *[1] * len(bright)),
        classes=2,
        text=f"the mask values {_list(codes)}: {text}",
        plain=len(bright) == 1,
    )


def _colours(
    files: Sequence[Census], counts: Counter[int], codes: list[int], void: set[int], name: str
) -> Reading:
    """Colour-coded masks: in the order of a palette that all files share, else by colour."""
    background = _background(codes, counts)
    palettes = [dict(file.palette) for file in files if max(file.counts) >= COLOUR]
    shared: dict[int, int] = {}
    for palette in palettes:
        shared |= palette
    indexed = all(palettes) and all(palette[code] == shared[code] for palette in palettes for code in palette)
    if indexed:
        if not void and max(shared.values()) == VOID and sorted(shared.values())[-2] < MAX_CLASSES:
            void = {code for code, index in shared.items() if index == VOID}
            codes = [code for code in codes if code not in void]
        codes = sorted(codes, key=lambda code: shared.get(code, code))
    # JPEG gives one class a slightly different colour in every file.
    if any(file.lossy for file in files):
        return _merged(codes, counts, void, background, name)
    return _table(codes, void, name, background=background)


def _merged(codes: list[int], counts: Counter[int], void: set[int], background: int, name: str) -> Reading:
    """Colours of JPEG files, where one class differs a little from file to file."""
    main: list[int] = []
    for code in sorted(codes, key=lambda code: -counts[code]):
        distance = [np.abs(_channels(code) - _channels(other)).max() for other in main]
        if not distance or min(distance) > DARK:
            main.append(code)
    owner = {code: main[int(_nearest(np.array([code]), np.array(main))[0])] for code in codes}
    table = _table(sorted(main), void, name, background=owner[background])
    number = dict(zip(table.codes, table.numbers, strict=True))
    numbers = tuple(VOID if code in void else number[owner[code]] for code in [*codes, *sorted(void)])
    return Reading(
        rule="table",
        codes=(*codes, *sorted(void)),
        numbers=numbers,
        classes=table.classes,
        text=table.text,
    )


def _grey_levels(
    files: Sequence[Census], counts: Counter[int], codes: list[int], name: str
) -> Reading | None:
    """Masks that were compressed, blurred or resized: two classes in grey levels, or some peaks; None where
    the values are classes as they stand.
    """
    top = codes[-1]
    lossy = any(file.lossy for file in files)
    if lossy and 1 < top < 128:
        raise InputError(
            f"the masks of {name} are JPEG and reach {top} of 255 only, so their values are no classes any "
            "more; save them as PNG"
        )
    if not 128 <= top <= 255 or codes[0] < 0:
        return None
    if lossy:
        peaks = _peaks(counts)
        return _half_said(codes) if len(peaks) < 3 else _levels(peaks)

    between = [code for code in codes if DARK < code < BRIGHT]
    middle = sum(counts[code] for code in between)
    bright = sum(counts[code] for code in codes if code >= BRIGHT)
    inside = sum(file.inner[code] for file in files for code in between)
    least = EDGE_ALONE * middle
    # Real classes have an inside; what smoothing leaves between black and white lies on edges.
    on_edges = inside <= least
    if len(codes) <= PLAIN_VALUES:
        smoothed = bool(between) and on_edges and 2 * middle < bright
    elif len(codes) <= MAX_CLASSES:
        smoothed = on_edges and middle <= bright
    else:  # no classes in any case; a photograph has more between than a blurred mask
        smoothed = middle <= BLURRED * bright
    return _half_said(codes) if smoothed else None


def _peaks(counts: Counter[int]) -> list[int]:
    """Grey levels around which the pixels gather, each far from the next."""
    histogram = np.zeros(256 + 6 * PEAK)
    for level, number in counts.items():
        histogram[level + 3 * PEAK] += number
    near = np.convolve(histogram, np.ones(2 * PEAK + 1), "same")
    wide = np.convolve(histogram, np.ones(6 * PEAK + 1), "same")
    total = histogram.sum()
    peaks: list[int] = []
    for row in np.argsort(-near, kind="stable"):
        level = int(row) - 3 * PEAK
        apart = all(abs(level - other) > DARK for other in peaks)
        # In a ramp the near levels hold a third of the wide ones.
        if apart and near[row] >= PEAK_SHARE * total and near[row] >= 0.75 * wide[row]:
            peaks.append(min(255, max(0, level)))
    return sorted(peaks)


def _levels(peaks: list[int]) -> Reading:
    return Reading(
        rule="table",
        codes=tuple(peaks),
        numbers=tuple(range(len(peaks))),
        classes=len(peaks),
        text=f"the masks are compressed; the levels around {_list(peaks)} are the classes 0 to "
        f"{len(peaks) - 1}",
    )


def _half_said(codes: list[int]) -> Reading:
    return _half(f"the masks hold {len(codes)} grey levels; 128 and above is foreground")


def _half(text: str) -> Reading:
    return Reading(rule="half", codes=(), numbers=(), classes=2, text=text)


def _is_void(files: Sequence[Census], codes: list[int]) -> bool:
    """Whether 255 stands behind small class numbers."""
    if len(codes) < 3 or codes[-1] != VOID or codes[-2] >= MAX_CLASSES:
        return False
    beside_class = any({VOID} < file.counts.keys() - {0} for file in files)
    return len(codes) > 3 or beside_class


def _are_objects(files: Sequence[Census]) -> bool:
    """Whether values number objects: each one piece, counted from 1 in every file, and not equally many."""
    regions = [file.objects for file in files if file.objects and file.objects.count]
    if not _count_pieces(regions):
        return False
    if max(region.top for region in regions) >= INSTANCES:
        return True
    # With few numbers, classes can look alike: then every sign must be there, the order of labelling too.
    several = [region for region in regions if region.count > 1]
    return (
        len(several) >= FEW_FILES
        and all(region.count == region.top == region.single for region in regions)
        and all(region.ordered and not region.nested for region in several)
    )


def _may_be_objects(files: Sequence[Census]) -> bool:
    """Whether a person should look: few numbers that count pieces, in any order."""
    regions = [file.objects for file in files if file.objects and file.objects.count]
    return _count_pieces(regions) and max(region.top for region in regions) >= FEW_OBJECTS


def _count_pieces(regions: Sequence[Objects]) -> bool:
    """Whether nearly every value is one piece, nearly all numbers from 1 on are there, and files differ in
    how many they have.
    """
    if len({region.count for region in regions}) < 2:
        return False
    values = sum(region.count for region in regions)
    single = sum(region.single for region in regions)
    numbers = sum(region.top for region in regions)
    in_pieces = single >= MOST * values
    from_one = values >= MOST * numbers
    return in_pieces and from_one


def _values_of(mask: ShownMask) -> Int32[np.ndarray, "h w"]:
    """The stored values: behind a palette its indices."""
    if not mask.palette:
        return mask.codes
    entries = sorted(mask.palette.items())
    codes, indices = np.array(entries, dtype=np.int32).T
    rows = np.searchsorted(codes, mask.codes)
    return np.asarray(indices[rows])


def _objects(codes: Int32[np.ndarray, "h w"]) -> Objects | None:
    """The regions of the positive values of one mask; None where they are too many or too high to be looked
    at one by one.
    """
    top = int(codes.max())
    if not 1 <= top < 1 << 16 or int(codes.min()) < 0:
        return None
    boxes = ndimage.find_objects(codes)
    single, starts, count = 0, [], 0
    corners: list[tuple[int, int, int, int]] = []
    for value, box in enumerate(boxes, 1):
        if box is None:
            continue
        count += 1
        region = codes[box] == value
        pieces = ndimage.label(region, structure=np.ones((3, 3)))[1]
        single += pieces == 1
        starts.append((box[0].start, box[1].start + int(region[0].argmax())))
        corners.append((box[0].start, box[1].start, box[0].stop, box[1].stop))
    nested = any(
        inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]
        for inner in corners[:INSTANCES]
        for outer in corners[:INSTANCES]
        if inner is not outer
    )
    return Objects(count=count, top=top, single=single, ordered=starts == sorted(starts), nested=nested)


def _one_class(codes: list[int], void: set[int], background: int, text: str) -> Reading:
    kinds = [int(code != background) for code in codes]
    kinds += [VOID] * len(void)
    listed = [*codes, *sorted(void)]
    return Reading(
        rule="table", codes=tuple(listed), numbers=tuple(kinds), classes=2, text=text + _void_text(void)
    )


def _table(codes: list[int], void: set[int], name: str, *, background: int, stored: bool = False) -> Reading:
    """Each code is a class, the background first, then in the order given."""
    if len(codes) > MAX_CLASSES:
        raise InputError(
            f"the masks of {name} hold {len(codes)} values from {code_name(codes[0])} to "
            f"{code_name(codes[-1])}, at most {MAX_CLASSES} classes are read; "
            'set evaluate.masks = "foreground" in the recipe if they number instances, '
            "or save masks as PNG with 0 and 255, or with the classes 0..k-1"
        )
    ordered = [background, *(code for code in codes if code != background)]
    plain = ordered in ([0, 255], list(range(len(ordered)))) and not void
    return Reading(
        rule="table",
        codes=(*ordered, *sorted(void)),
        numbers=(*range(len(ordered)), *[VOID] * len(void)),
        classes=len(ordered),
        text=f"the mask values {_list(ordered)} are read as classes 0 to {len(ordered) - 1}, in this order"
        + _void_text(void),
        plain=plain,
        stored=stored,
    )


def _background(codes: list[int], counts: Counter[int]) -> int:
    """Black; without black, the darkest grey level of grey masks, or the most frequent colour."""
    if 0 in codes or codes[-1] < COLOUR:
        return codes[0] if codes[0] >= 0 else min(codes, key=abs)
    return max(codes, key=lambda code: counts[code])


def _void_text(void: set[int]) -> str:
    return f"; {_list(sorted(void))} is void and counts nowhere (evaluate.ignore)" if void else ""


def _list(codes: Sequence[int]) -> str:
    names = ", ".join(code_name(code) for code in codes[:PLAIN_VALUES])
    return f"{names}, … {code_name(codes[-1])}" if len(codes) > PLAIN_VALUES else names


def _channels(code: int) -> Int32[np.ndarray, "3"]:
    return unpack(np.array(code, dtype=np.int32))


def _nearest(codes: Int32[np.ndarray, "n"], table: Int32[np.ndarray, "k"]) -> Int32[np.ndarray, "n"]:
    """Row of the table whose colour is nearest, for each code."""
    distinct, rows = np.unique(codes, return_inverse=True)
    apart = unpack(distinct)[:, None] - unpack(np.asarray(table))[None]
    nearest = (apart.astype(np.int64) ** 2).sum(axis=2).argmin(axis=1)
    return np.asarray(nearest[rows], dtype=np.int32)
