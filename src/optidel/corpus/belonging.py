"""Groups, labels and splits of frames, from the file itself, the pattern and the manifest."""

from collections.abc import Iterable, Mapping, Sequence

from optidel.corpus.companions import MAX_FETCHED
from optidel.corpus.groups import compile_pattern, resolve, search
from optidel.corpus.manifest import Manifest
from optidel.corpus.options import IndexOptions
from optidel.corpus.walk import printable
from optidel.progress import say
from optidel.readers.decoded import DOUBLED, MISSING, UNASSEMBLED
from optidel.readers.series import MAX_FILES
from optidel.records import Frame, Rejected

LISTED = "is listed in the manifest"
"""How the reason begins for which the manifest, not the file, is to be mended."""


class Resolver:
    """Says of each frame what it belongs to, and counts where an option did nothing."""

    def __init__(self, options: IndexOptions, manifest: Manifest | None) -> None:
        """Compile the pattern.

        Raises:
            RecipeError: the pattern cannot be used.
        """
        self.pattern = compile_pattern(options.pattern)
        self.kind = options.group
        self.manifest = manifest
        self.matched = 0
        self.grouped = 0
        self.listed: set[str] = set()
        self.uneven: set[str] = set()
        self.unassembled: set[str] = set()

    def frames(self, frames: Iterable[Frame]) -> list[Frame]:
        """The frames that belong to the corpus, with their groups."""
        resolved = []
        for frame in frames:
            row: Mapping[str, str] = {}
            if self.manifest:
                listing = self.manifest.of(frame)
                if listing is None:
                    continue  # another frame of its file is listed
                row = listing
                self.listed.update(self.manifest.paths(frame))
            with_groups = resolve(frame, self.pattern, row, self.kind)
            self.matched += bool(self.pattern and search(self.pattern, frame.id))
            self.grouped += with_groups.group is not None
            if frame.rule and frame.rule.endswith((MISSING, DOUBLED)):
                self.uneven.add(frame.source)
            if frame.rule and UNASSEMBLED in frame.rule:
                self.unassembled.add(frame.source)
            resolved.append(with_groups)
        return resolved

    # Called when all frames are known: before, any member may still come.
    def missing(self, sources: Sequence[str]) -> list[Rejected]:
        """Members of archives that the manifest lists and that did not become frames."""
        if not self.manifest:
            return []
        files = set(sources)
        reason = f"{LISTED} but did not become a frame"
        missing = []
        for path in self.manifest.rows:
            archive, inside, _ = path.partition("#")
            is_member = bool(inside) and path not in files and archive in files
            if is_member and path not in self.listed:
                missing.append(Rejected(source=printable(path), reason=reason))
        return missing

    def tell(self, count: int) -> None:
        """Say where an option did nothing for some of ``count`` frames."""
        if self.pattern and self.matched < count:
            say(
                f"index: the pattern matches {self.matched} of {count} frames; the others have only the "
                "groups that their files state"
            )
        if self.uneven:
            say(
                f"index: {len(self.uneven)} DICOM series lack slices or hold some twice, the first that of "
                f"{printable(min(self.uneven))}; the rule of their frames says how many"
            )
        if self.unassembled:
            first = printable(min(self.unassembled))
            say(
                f"index: {len(self.unassembled)} DICOM files, the first {first}, lie among more than "
                f"{MAX_FILES} in one folder or archive ({MAX_FETCHED} at a URL), so no series is "
                "assembled of them: each slice has a scale of its own, and no planes are cut across; "
                "give each series a folder"
            )
        if self.kind and self.grouped < count:
            say(f"index: {count - self.grouped} of {count} frames have no {self.kind}, and so no group")
