"""One tool, one method, one run, in a process of its own: prints seconds and the peak of memory as JSON,
writes the rows chosen.

It runs in this project's environment and in the rivals', so at the top it imports nothing but NumPy.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Chosen = np.ndarray
"""int64 (m,), rows chosen; empty where a run does not choose."""


def optidel(
    vectors: np.ndarray, difficulty: np.ndarray, method: str, count: int, params: dict[str, object]
) -> Callable[[], Chosen]:
    """A selection by this project; ``k-means`` is its clustering alone."""
    from optidel.features.clusters import cluster
    from optidel.methods import select

    def run() -> Chosen:
        if method == "k-means":
            cluster(vectors, rng=np.random.default_rng(0))
            return np.empty(0, dtype=np.int64)
        return select(vectors, method, count, difficulty=difficulty, **params).indices  # type: ignore[arg-type]

    return run


def apricot(vectors: np.ndarray, count: int, own_cosine: bool) -> Callable[[], Chosen]:
    """apricot-select, by default on the similarities max(0, cosine) from one matrix product: ``own_cosine``
    squares the cosines.
    """
    from apricot import FacilityLocationSelection

    def fit(rows: np.ndarray, wanted: int) -> Chosen:
        model = FacilityLocationSelection(
            wanted, metric="cosine" if own_cosine else "precomputed", optimizer="two-stage"
        )
        model.fit(rows if own_cosine else np.maximum(rows @ rows.T, 0))
        return np.asarray(model.ranking)

    fit(vectors[:200], 5)  # its numba kernels compile on first use
    return lambda: fit(vectors, count)


def submodlib(vectors: np.ndarray, count: int) -> Callable[[], Chosen]:
    """submodlib, dense, by its lazy greedy, on the cosines it computes itself."""
    from submodlib import FacilityLocationFunction

    def run() -> Chosen:
        function = FacilityLocationFunction(n=len(vectors), mode="dense", data=vectors, metric="cosine")
        return np.array(
            [row for row, _ in function.maximize(budget=count, optimizer="LazyGreedy", show_progress=False)]
        )

    return run


def faiss_k_means(vectors: np.ndarray, deduplicate: bool, count: int) -> Callable[[], Chosen]:
    """faiss k-means with √n centroids, 20 iterations and 128 rows a centroid, and the assignment of every
    row.

    With ``deduplicate``, then the rule of the SemDeDup scripts in each cluster: sort by similarity to the
    centroid, form all cosines, drop rows closer to an earlier one than a radius; the radius is the quantile
    that keeps ``count``.
    """
    import faiss

    k = round(len(vectors) ** 0.5)

    def run() -> Chosen:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        model = faiss.Kmeans(
            rows.shape[1],
            k,
            niter=20,
            spherical=True,
            seed=1,
            max_points_per_centroid=128,
            min_points_per_centroid=1,
        )
        model.train(rows)
        similarity, labels = model.index.search(rows, 1)
        if not deduplicate:
            return np.empty(0, dtype=np.int64)
        closest = np.full(len(rows), -1.0, dtype=np.float32)
        for label in range(k):
            members = np.flatnonzero(labels[:, 0] == label)
            members = members[np.argsort(similarity[members, 0])]
            if len(members) > 1:
                closest[members] = np.triu(rows[members] @ rows[members].T, 1).max(axis=0)
        return np.argsort(closest, kind="stable")[:count]

    return run


def peak_megabytes() -> float:
    """The largest resident memory of this process so far, shared pages of a memory map included."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would also count what the parent held when it forked.
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("tool")
    parser.add_argument("method")
    parser.add_argument("count", type=int)
    parser.add_argument("params", type=json.loads)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    mapped = np.load(given.folder / "vectors.npy", mmap_mode="r")
    vectors = mapped if mapped.dtype == np.float16 else np.array(mapped)
    runs = {
        "optidel": lambda: optidel(
            vectors, np.load(given.folder / "difficulty.npy"), given.method, given.count, given.params
        ),
        "apricot": lambda: apricot(vectors, given.count, "own cosine" in given.method),
        "submodlib": lambda: submodlib(vectors, given.count),
        "faiss": lambda: faiss_k_means(vectors, given.method == "semdedup", given.count),
    }
    run = runs[given.tool]()
    before = peak_megabytes()
    started, worked = time.perf_counter(), time.process_time()
    chosen = run()
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    np.save(given.out, chosen)
    print(
        json.dumps(
            {"seconds": seconds, "cpu_seconds": processor, "peak_mb": peak_megabytes(), "before_mb": before}
        )
    )


if __name__ == "__main__":
    main()
