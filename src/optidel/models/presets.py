"""Sizes of the models that are trained here, and how images are shown to them; no torch is needed."""

from dataclasses import dataclass, replace
from typing import Any


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
    # ViT-Large and ViT-Huge (arXiv 2010.11929, table 1) with MAE's decoder; Huge has patches of 14 px, as
    # there.
    "large": Preset(
        size=224,
        patch=16,
        width=1024,
        depth=24,
        heads=16,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=16,
    ),
    "huge": Preset(
        size=224,
        patch=14,
        width=1280,
        depth=32,
        heads=16,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=16,
    ),
}

MAE_CROP = (0.2, 1.0)
"""Area kept by a crop: the augmentation of MAE (arXiv 2111.06377, appendix A.1)."""

JITTER = 0.4
"""Largest change of brightness, contrast and saturation, as in MoCo v2 (arXiv 2003.04297); SimCLR's is twice
as strong (arXiv 2002.05709, appendix A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """How a training image is changed each time it is shown.

    Args:
        crop: least and largest share of the image's area that a crop keeps; (1, 1) never crops.
        flip: mirror one image in two, left to right.
        jitter: largest change of brightness, contrast and saturation, as a factor around 1; 0 for none. None
            takes what the objective needs: 0 for ``mae``, 0.4 for ``simclr``.
    """

    crop: tuple[float, float] = MAE_CROP
    flip: bool = True
    jitter: float | None = None


VIEWS: dict[str, Views] = {
    "crop": Views(),
    "flip-only": Views(crop=(1.0, 1.0), jitter=0.0),
}
"""Presets by name. ``flip-only`` lets a small set be exhausted: under random crops 63 images and 1,253 train
equally good encoders (docs/results)."""


def make_views(
    preset: str,
    crop: tuple[float, float] | None = None,
    flip: bool | None = None,
    jitter: float | None = None,
) -> Views:
    """The views of a preset, with single parts of it changed.

    Args:
        preset: a key of :data:`VIEWS`.
        crop, flip, jitter: as in :class:`Views`; None keeps the preset's.

    >>> make_views("flip-only", jitter=0.2)
    Views(crop=(1.0, 1.0), flip=True, jitter=0.2)
    """
    changes: dict[str, Any] = {"crop": crop, "flip": flip, "jitter": jitter}
    explicit = {name: value for name, value in changes.items() if value is not None}
    return replace(VIEWS[preset], **explicit)
