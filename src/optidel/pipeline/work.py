"""A share of a step's shards, for schedulers: what ``optidel work`` does."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optidel.errors import RecipeError, WorkerError, nearest
from optidel.mapping import Plan, do, open_jobs, read_share, share_of, slurm_share
from optidel.store import Store

# Workers that a job may name, and where each is defined: nothing else is ever loaded by name.
WORKERS: dict[str, tuple[str, str]] = {
    "index": ("optidel.corpus.scanning", "ScanWorker"),
    "pixels": ("optidel.corpus.pixels", "PixelWorker"),
    "subset": ("optidel.corpus.pixels", "PixelWorker"),
    "prints": ("optidel.pipeline.steps.prints", "PrintWorker"),
    "embed": ("optidel.features.embedding", "ScoreWorker"),
    "patches": ("optidel.pipeline.steps.patches", "PatchWorker"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many shards a share had, and how many of the whole step are still without a part."""

    shards: int
    missing: int


def work_step(root: Path, step: str, share: str | None, plan: Plan) -> Share:
    """Do a share of the shards of a step that another command has begun.

    No lock is taken: parts are renamed when they are whole, so any number of processes may do so at once.

    Args:
        root: the run folder.
        step: name of the step.
        share: ``i/n``; None for the share that Slurm gives this process, else for all shards.
        plan: who does it.

    Raises:
        RecipeError: no such step, or no such share.
        WorkerError: no command has begun the step.
    """
    if step not in WORKERS:
        raise RecipeError(
            f"step {step!r} is not done in shards{nearest(step, WORKERS)}; there are {', '.join(WORKERS)}"
        )
    if not root.is_dir():
        raise RecipeError(f"there is no run folder {root}; pass the folder given to --out")
    Store(root, look=True)
    jobs = open_jobs(root, step, _classes())
    if not jobs:
        raise WorkerError(
            f"no {step} is under way in {root}; begin it with "
            f"`optidel {step} … --out {root} --executor slurm`"
        )
    part = read_share(share) if share else slurm_share(os.environ)
    # A run may hold an older one that was given up: the newest is meant.
    job = jobs[0]
    shards = share_of(job.shards, part) if part else list(job.shards)
    do(job, shards, plan)
    return Share(shards=len(shards), missing=len(job.missing()))


def _classes() -> dict[str, type[Any]]:
    """Workers by the name of their class."""
    classes = {}
    for module, name in WORKERS.values():
        classes[name] = getattr(importlib.import_module(module), name)
    return classes
