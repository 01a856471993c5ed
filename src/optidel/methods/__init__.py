"""Selection methods: arrays in, a :class:`~optidel.records.Selection` out. ``METHODS`` lists them,
:func:`select` calls them.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from optidel.arrays import Scores, Vectors
from optidel.errors import InputError, RecipeError, nearest
from optidel.methods.ccs import ccs
from optidel.methods.concepts import concepts
from optidel.methods.d4 import d4
from optidel.methods.density import density
from optidel.methods.facility_location import facility_location
from optidel.methods.full import full
from optidel.methods.groups import GroupRule, spread, together
from optidel.methods.hardest import hardest
from optidel.methods.hierarchical_kmeans import hierarchical_kmeans
from optidel.methods.influence import influence
from optidel.methods.inputs import (
    accepted,
    check_choice,
    check_labels,
    check_parameters,
    check_scores,
    check_seed,
    check_target,
    check_vectors,
    count_for,
)
from optidel.methods.k_center import k_center
from optidel.methods.kmeans_medoids import kmeans_medoids
from optidel.methods.log_det import log_det
from optidel.methods.meddel import meddel
from optidel.methods.mixture import ConceptShares, mixture
from optidel.methods.moderate import moderate
from optidel.methods.optidel import optidel
from optidel.methods.optidel_paper import optidel_paper
from optidel.methods.pvi import pvi
from optidel.methods.random import random
from optidel.methods.sas import sas
from optidel.methods.semdedup import semdedup
from optidel.methods.ssp import ssp
from optidel.methods.target_importance import target_importance
from optidel.methods.target_similarity import target_similarity
from optidel.methods.target_transport import target_transport
from optidel.records import Selection

__all__ = [
    "ALL_METHODS",
    "GUIDED_METHODS",
    "MEASURED_ON_HELD_OUT",
    "METHODS",
    "Method",
    "count_for",
    "held_out_caveat",
    "method_named",
    "select",
]


# ``select(vectors, count, *, …)``. By keyword it takes what it reads of ``rng`` and ``difficulty``, and its
# own parameters.
Selector = Callable[..., Selection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A selection method and what a person needs to know before running it.

    Args:
        select: the function, from vectors and a count to a selection.
        unit: what an item is.
        summary: one line.
        paper: where it was published, or empty.
        cost: time, with n items, m kept, k clusters, d dimensions.
        needs: the input required beside vectors (``"difficulty"``, ``"target"``, ``"influences"`` or
            ``"mixture"``), or empty.
        nested: a smaller budget keeps the first rows of a larger one, whatever the seed. One ranking then
            serves all budgets.
        scorer: the difficulty that a run passes: reconstruction error, or minus the pointwise V-information.
    """

    select: Selector
    unit: Literal["frame", "key patch"]
    summary: str
    paper: str
    cost: str
    needs: str = ""
    nested: bool = False
    scorer: Literal["error", "pvi"] = "error"


METHODS: dict[str, Method] = {
    "full": Method(
        select=full,
        unit="frame",
        summary="everything, the reference",
        paper="",
        cost="O(n)",
        nested=True,
    ),
    "random": Method(
        select=random,
        unit="frame",
        summary="uniform draw, the baseline",
        paper="",
        cost="O(n·d)",
        nested=True,
    ),
    "meddel": Method(
        select=meddel,
        unit="frame",
        summary="one of every group of near-duplicates, the radius meeting the budget",
        paper="arXiv 2401.17542",
        cost="O(n·k·d + n²·d/k)",
    ),
    "hardest": Method(
        select=hardest,
        unit="frame",
        summary="greatest difficulty, nothing else",
        paper="",
        cost="O(n·log n)",
        needs="difficulty",
        nested=True,
    ),
    "pvi": Method(
        select=pvi,
        unit="frame",
        summary="lowest pointwise V-information: the mean image predicts them as well",
        paper="arXiv 2110.08420",
        cost="O(n·log n)",
        needs="difficulty",
        nested=True,
        scorer="pvi",
    ),
    "ssp": Method(
        select=ssp,
        unit="frame",
        summary="farthest from (or nearest to) its k-means prototype",
        paper="arXiv 2206.14486",
        cost="O(n·k·d)",
        nested=True,
    ),
    "moderate": Method(
        select=moderate,
        unit="frame",
        summary="at the median distance from its cluster's centre",
        paper="ICLR 2023, Xia et al.",
        cost="O(n·k·d)",
        nested=True,
    ),
    "ccs": Method(
        select=ccs,
        unit="frame",
        summary="evenly from strata of difficulty, without the hardest",
        paper="arXiv 2210.15809",
        cost="O(n·d)",
        needs="difficulty",
    ),
    "concepts": Method(
        select=concepts,
        unit="frame",
        summary="at random inside concepts, each giving a share that grows with the root of its size",
        paper="arXiv 1911.02116",
        cost="O(n·k·d)",
    ),
    "density": Method(
        select=density,
        unit="frame",
        summary="drawn with a weight of 1 over the kernel density",
        paper="arXiv 2402.09668",
        cost="O(n·k·d + n²·d/k)",
        nested=True,
    ),
    "kmeans-medoids": Method(
        select=kmeans_medoids,
        unit="frame",
        summary="as many clusters as wanted, of each the row nearest its centroid",
        paper="arXiv 1708.00489",
        cost="O(n·m·d)",
    ),
    "semdedup": Method(
        select=semdedup,
        unit="frame",
        summary="no two closer than a radius, given or searched",
        paper="arXiv 2303.09540",
        cost="O(n·k·d + n²·d/k)",
    ),
    "d4": Method(
        select=d4,
        unit="frame",
        summary="de-duplicated, then the least prototypical",
        paper="arXiv 2308.12284",
        cost="O(n·k·d + n²·d/k)",
    ),
    "hierarchical-kmeans": Method(
        select=hierarchical_kmeans,
        unit="frame",
        summary="evenly from every branch of a tree of clusters",
        paper="arXiv 2405.15613",
        cost="O(n·k·d)",
    ),
    "k-center": Method(
        select=k_center,
        unit="frame",
        summary="every row close to a kept one",
        paper="arXiv 1708.00489",
        cost="O(n·m·d), above 100,000 rows O(n·m·d/√n)",
        nested=True,
    ),
    "facility-location": Method(
        select=facility_location,
        unit="frame",
        summary="every row has a kept one as similar as possible",
        paper="JMLR 2015, Wei, Iyer & Bilmes",
        cost="O(n²·d), above 20,000 rows O(n·d)",
        nested=True,
    ),
    "log-det": Method(
        select=log_det,
        unit="frame",
        summary="kept rows span the largest volume",
        paper="arXiv 1709.05135",
        cost="O(n·m·(d + m)), above 20,000 rows in parts",
        nested=True,
    ),
    "sas": Method(
        select=sas,
        unit="frame",
        summary="of each latent class the rows most similar to those left out, for contrastive learning",
        paper="arXiv 2302.09195",
        cost="O(n·k·d + n·m·d/k)",
    ),
    "optidel": Method(
        select=optidel,
        unit="frame",
        summary="balanced over concepts, from a window of difficulty that theory places, no near-copies",
        paper="after arXiv 2408.07107",
        cost="O(n·k·d)",
        needs="difficulty",
    ),
    "optidel-paper": Method(
        select=optidel_paper,
        unit="key patch",
        summary="the hardest, diverse by cluster quotas and a radius",
        paper="arXiv 2408.07107",
        cost="O(n·k·d + n·m·d/k)",
        needs="difficulty",
    ),
}


# Methods that a loop over METHODS cannot run: they need more than vectors and difficulty.
GUIDED_METHODS: dict[str, Method] = {
    "influence": Method(
        select=influence,
        unit="frame",
        summary="what lowers the held-out loss most, diverse by cluster quotas and a radius",
        paper="arXiv 2406.11011",
        cost="O(n·k·d + n·m·d/k)",
        needs="influences",
    ),
    "mixture": Method(
        select=mixture,
        unit="frame",
        summary="drawn in the shares of concepts at which short trials expect the least held-out loss",
        paper="arXiv 2407.01492",
        cost="O(n·d)",
        needs="mixture",
    ),
    "target-similarity": Method(
        select=target_similarity,
        unit="frame",
        summary="the neighbours of a few target images, in equal parts for each",
        paper="arXiv 2111.04130",
        cost="O(n·t·(d + log n)), t target images",
        needs="target",
        nested=True,
    ),
    "target-importance": Method(
        select=target_importance,
        unit="frame",
        summary="drawn with the weight p_target/p_corpus of their concept",
        paper="arXiv 2302.03169",
        cost="O(n·k·d)",
        needs="target",
        nested=True,
    ),
    "target-transport": Method(
        select=target_transport,
        unit="frame",
        summary="from where the target is reached by optimal transport at the least cost",
        paper="arXiv 1412.5154",
        cost="O(n·t·d), t target images",
        needs="target",
    ),
}


# A view of both, so that there is no third list to keep right; those of METHODS come first.
ALL_METHODS: Mapping[str, Method] = ChainMap(GUIDED_METHODS, METHODS)
"""Every method, by the name that a recipe, a bench and :func:`select` know it by."""


# Inputs of methods, as ``Method.needs`` names them, that are measured on held-out frames.
MEASURED_ON_HELD_OUT = ("influences", "mixture")


def held_out_caveat(methods: Mapping[str, str]) -> str:
    """What to say where the held-out V-entropy is of the frames that guided a method; empty where none was.

    Args:
        methods: the name under which each is shown, to its method.

    >>> held_out_caveat({"random": "random", "longer": "mixture"})
    'longer was guided by these very held-out frames, so H flatters it: compare by labelled tasks.'
    """
    guided = []
    for name, method in methods.items():
        if method in ALL_METHODS and ALL_METHODS[method].needs in MEASURED_ON_HELD_OUT:
            guided.append(name)
    if not guided:
        return ""
    verb, them = ("was", "it") if len(guided) == 1 else ("were", "them")
    names = " and ".join(guided)
    claim = f"{names} {verb} guided by these very held-out frames, so H flatters {them}"
    return f"{claim}: compare by labelled tasks."


def method_named(name: str) -> Method:
    """The entry of a method, guided ones included.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in ALL_METHODS:
        hint, names = nearest(name, ALL_METHODS), ", ".join(ALL_METHODS)
        raise RecipeError(f"unknown method {name!r}{hint}; there are {names}")
    return ALL_METHODS[name]


def select(
    vectors: Vectors,
    method: str = "meddel",
    budget: float = 0.05,
    difficulty: Scores | None = None,
    groups: Sequence[object] | Shaped[np.ndarray, "n"] | None = None,
    seed: int = 0,
    group_rule: GroupRule = "spread",
    target: Vectors | None = None,
    influences: Scores | None = None,
    mixture: ConceptShares | None = None,
    **params: object,
) -> Selection:
    """Choose which rows are worth keeping.

    Args:
        vectors: float16, float32 or float64 (n, d), one row per item, finite and not all zero; compared by
            cosine similarity. A memory map is read in blocks.
        method: a name in ``METHODS`` or ``GUIDED_METHODS``.
        budget: a fraction in (0, 1] or a whole number of items, met exactly.
        difficulty: float (n,), higher is harder; some methods need it, the others do not read it.
        groups: (n,), the patient, video or centre of each row; obeyed by every method.
        seed: seeds every draw of the method.
        group_rule: ``spread`` takes no more of a group than its even share, ``together`` keeps or drops whole
            groups and cuts at most one to meet the budget.
        target: float (t, d), unlabelled images of the target in the same embedding; some methods need it, the
            others do not read it.
        influences: float (n,), by how much training on each row lowers a held-out loss; read by
            ``influence``.
        mixture: concept of each row and share of each concept; read by ``mixture``.
        params: the method's own parameters.

    Returns:
        The selection: ``indices`` best first, and for every row why it stayed or went.

    Raises:
        InputError: vectors or difficulty cannot be used.
        BudgetError: the budget is out of range or cannot be met.
        RecipeError: unknown method or parameter, or a parameter out of range.

    >>> import numpy as np
    >>> import optidel
    >>> scenes = np.eye(4, dtype="float32")  # four scenes, three copies of each
    >>> selection = optidel.select(np.repeat(scenes, 3, axis=0), method="meddel", budget=4)
    >>> sorted((selection.indices // 3).tolist())
    [0, 1, 2, 3]

    """
    entry = method_named(method)
    check_parameters(method, entry.select, params)
    check_vectors(vectors)
    count = count_for(budget, len(vectors))
    if entry.needs == "difficulty" and difficulty is None:
        raise InputError(
            f"method {method!r} needs a difficulty per row; pass difficulty=…, "
            "for example the reconstruction error"
        )
    if entry.needs == "target" and target is None:
        raise InputError(
            f"method {method!r} needs images of the target; pass target=…, their vectors by the same encoder"
        )
    if entry.needs == "influences" and influences is None:
        raise InputError(
            f"method {method!r} needs an influence per row; pass influences=…, "
            "from optidel.methods.influence.influence_scores"
        )
    if entry.needs == "mixture" and mixture is None:
        raise InputError(
            f"method {method!r} needs concepts and their shares; pass mixture=ConceptShares(…), "
            "from optidel.methods.mixture.fit_mixture"
        )
    if target is not None:
        check_target(target, vectors.shape[1])
    supplies = {
        "difficulty": None if difficulty is None else check_scores(difficulty, len(vectors), "difficulty"),
        "influences": None if influences is None else check_scores(influences, len(vectors), "influences"),
        "target": target,
        "mixture": mixture,
    }
    readable = accepted(entry.select)

    def run(size: int) -> Selection:
        # A fresh generator each time: the group rules call a method more than once and rely on one ranking.
        inputs = {"rng": np.random.default_rng(check_seed(seed)), **supplies}
        read = {name: value for name, value in inputs.items() if name in readable}
        return entry.select(vectors, size, **read, **params)

    if groups is None:
        return run(count)
    check_choice("group_rule", group_rule, ("spread", "together"))
    labels = check_labels(groups, len(vectors), "groups")
    return spread(run, labels, count) if group_rule == "spread" else together(run, labels, count)
