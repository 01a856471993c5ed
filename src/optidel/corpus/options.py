"""What becomes a frame, what belongs together, and what one file may cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optidel.corpus.sandbox.scan import ScanOptions
from optidel.readers import DecodeOptions, window_of

GIBIBYTE = 2**30

NOT_OF_A_FILE = ("pattern", "group", "manifest", "workers")
"""Options that change no row of a file: they may differ between two indexes that share rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """What becomes a frame and what belongs together; the defaults are those of the recipe's section
    ``corpus``, explained there.

    ``seconds`` and ``memory`` (GiB) are the limits of one file. ``crop``: ``none``, or ``content`` for the
    lit area of a frame alone. ``window``: for CT, a name such as ``lung``, or level and width in HU; None for
    what the files state. ``damaged``: what to do with a file about which its decoder warns.
    """

    axes: tuple[str, ...] = ("axial",)
    every: float = 1.0
    scenes: bool = False
    crop: str = "none"
    window: str | Sequence[float] | None = None
    damaged: Literal["refuse", "keep"] = "refuse"
    pattern: str | None = None
    group: str | None = None
    manifest: str | None = None
    seconds: float = 10.0
    memory: float = 1.0
    workers: int | None = None

    def scan(self, key: bytes) -> ScanOptions:
        """How one file is read.

        Args:
            key: 32 bytes with which identifiers are hashed.
        """
        decode = DecodeOptions(
            axes=tuple(self.axes),
            every=self.every,
            scenes=self.scenes,
            window=window_of(self.window),
            damaged=self.damaged,
        )
        memory = round(self.memory * GIBIBYTE)
        return ScanOptions(decode=decode, seconds=self.seconds, memory=memory, key=key, crop=self.crop)

    def config(self) -> dict[str, Any]:
        """Those options that decide the rows of a file."""
        config = {name: value for name, value in asdict(self).items() if name not in NOT_OF_A_FILE}
        if self.crop == "none":
            del config["crop"]  # so that indexes made before there was a choice stay valid
        config["window"] = window_of(self.window)
        return config
