"""One entry of an archive, whatever kind of archive it is."""

from dataclasses import dataclass

from optidel.readers.source import Source

# Bytes of the largest member that is unpacked into memory; larger ones belong outside an archive.
MAX_MEMBER = 1 << 30

# Characters of a label that are kept; a round number, longer ones are no class names.
MAX_LABEL = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of an archive: its bytes as a ``source``, or why it is refused, or the ``label`` it gives to
    the images of its name.
    """

    name: str
    source: Source | None = None
    reason: str = ""
    label: str | None = None
    split: str | None = None
