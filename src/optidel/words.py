"""Numbers with their nouns, in sentences."""


def plural(unit: str) -> str:
    """The unit of many.

    >>> plural("frame"), plural("key patch"), plural("near-copy")
    ('frames', 'key patches', 'near-copies')
    """
    if unit.endswith("y"):
        return unit[:-1] + "ies"
    return unit + ("es" if unit.endswith("ch") else "s")


def counted(count: int, unit: str, verbs: tuple[str, str] | None = None) -> str:
    """A number with its noun, and with a verb that agrees.

    >>> counted(1, "file"), counted(1234, "frame"), counted(0, "key patch")
    ('1 file', '1,234 frames', '0 key patches')
    >>> counted(1, "mask", ("is", "are")), counted(2, "mask", ("is", "are"))
    ('1 mask is', '2 masks are')

    Args:
        count: of the things, 0 or more.
        unit: what is counted, in the singular.
        verbs: of one and of many.
    """
    is_one = count == 1
    text = f"{count:,} {unit if is_one else plural(unit)}"
    if verbs is None:
        return text
    return f"{text} {verbs[0] if is_one else verbs[1]}"


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, so that a table can hold it.

    >>> is_text("lésion.png"), is_text("l\\udce9sion.png")
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
