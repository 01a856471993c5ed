"""V-information measured, in nats: conditional and null V-entropy, their pointwise difference, and the
diversity of a set.

Source: Xu et al., ICLR 2020 (arXiv 2002.10689); pointwise: Ethayarajh et al., ICML 2022 (arXiv 2110.08420);
in data-effective pre-training: OptiDEL (arXiv 2408.07107). What needs a model is in
:mod:`optidel.vinformation.models`; the rest takes arrays.
"""

from optidel.vinformation.contrastive import contrastive_information, nt_xent_surprisal
from optidel.vinformation.diversity import log_determinant, vendi
from optidel.vinformation.gaussian import Information, Scorer, difficulty, information, null_errors, surprisal
from optidel.vinformation.hardness import learnability, scale_free
from optidel.vinformation.heldout import HeldOut, held_out_entropy

__all__ = [
    "HeldOut",
    "Information",
    "Scorer",
    "contrastive_information",
    "difficulty",
    "held_out_entropy",
    "information",
    "learnability",
    "log_determinant",
    "nt_xent_surprisal",
    "null_errors",
    "scale_free",
    "surprisal",
    "vendi",
]
