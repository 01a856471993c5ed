"""The leak check as a command: two sides of folders in, the matches and a page with the pairs out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optidel.copies.leaks import Leaks, find_leaks
from optidel.copies.prints import describe_corpus, joined
from optidel.corpus.index import index
from optidel.corpus.names import names_of
from optidel.errors import RecipeError
from optidel.report.leak_page import write_leak_page
from optidel.store import make_folder


def check_leaks(
    train: Path | str,
    tests: Sequence[Path | str],
    *,
    rate: float,
    near: int,
    out: Path | None,
    names: str = "plain",
) -> tuple[Leaks, Path | None]:
    """Index both sides in memory and look for leaks; with ``out`` also write OUT/leaks.html, the pairs side
    by side.

    The ``folder`` of each match is the test folder as it was given: several may have the same name. With
    ``names="hashed"`` the page shows keyed hashes in place of file names.

    Raises:
        RecipeError: a rate outside (0, 0.5), a distance below 0, or an unknown style of names.
        InputError: a folder without images.
        StoreError: ``out`` cannot be written.
    """
    if not 0 < rate < 0.5 or near < 0:
        raise RecipeError(
            f"rate must be in (0, 0.5) and near 0 or more, got {rate:g} and {near}; "
            "the defaults are 0.001 and 24"
        )
    # No run folder holds a key here: the hashes of one page agree with no other page.
    naming = names_of(names, None)
    if out is not None:
        make_folder(out)

    corpus = index(train)
    test_sets = {str(path): index(path) for path in tests}
    corpus_prints = describe_corpus(corpus)
    test_prints = []
    for name, images in test_sets.items():
        prints = describe_corpus(images)
        test_prints.append(replace(prints, folders=[name] * len(prints.ids)))
    leaks = find_leaks(corpus_prints, joined(test_prints), rate=rate, near=near)
    page = None if out is None else write_leak_page(corpus, test_sets, leaks, out / "leaks.html", naming)
    return leaks, page
