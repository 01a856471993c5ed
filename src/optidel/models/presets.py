"""Sizes of the models that are trained here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A vision transformer: ``size`` and ``patch`` in pixels, ``width`` of a token, ``depth`` blocks; the
    decoder likewise.
    """

    size: int
    patch: int
    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int

    @property
    def grid(self) -> int:
        """Tokens along one side."""
        return self.size // self.patch


PRESETS: dict[str, Preset] = {
    # Trains in minutes on two cores; ViT-Tiny's width (arXiv 2012.12877) at half its depth.
    "tiny": Preset(
        size=64, patch=8, width=192, depth=6, heads=3, decoder_width=96, decoder_depth=2, decoder_heads=3
    ),
    # ViT-Small and ViT-Base (arXiv 2012.12877, table 1). Base has MAE's own decoder (arXiv 2111.06377,
    # section 4.1), Small one of half its width and depth.
    "small": Preset(
        size=224, patch=16, width=384, depth=12, heads=6, decoder_width=256, decoder_depth=4, decoder_heads=8
    ),
    "base": Preset(
        size=224,
        patch=16,
        width=768,
        depth=12,
        heads=12,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=16,
    ),
}
