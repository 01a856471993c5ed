"""No encoder: tokens that are the pixels of their patches, so that a probe says what needs no encoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from optidel.models.encoders import MEAN, STD, Encoder
from optidel.models.presets import Preset


class RawPixels(Encoder):
    """The pixels of each patch as its token, the image scaled to one patch as its vector; nothing is learnt.

    Attributes as of :class:`~optidel.models.encoders.Encoder`; ``dim`` is three times the pixels of a patch.
    """

    def __init__(self, preset: Preset) -> None:
        """Take the size and the patches of a preset."""
        nn.Module.__init__(self)
        self.backbone = nn.Identity()
        self.kind = "pixels"
        self.size, self.patch = preset.size, preset.patch
        self.grid = preset.size // preset.patch
        self.dim = 3 * preset.patch**2
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def tokens(self, x: Float[Tensor, "n 3 s s"], layers: Sequence[int] = ()) -> Float[Tensor, "n d g g"]:
        """The pixels of every patch; there are no ``layers`` to choose from."""
        return F.pixel_unshuffle(x, self.patch)

    def forward(self, x: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n d"]:
        """The image at the size of one patch, flat."""
        return F.adaptive_avg_pool2d(x, self.patch).flatten(1)
