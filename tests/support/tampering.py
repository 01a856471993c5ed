"""Artifacts that a test changes on purpose, so that the store takes them for what was written."""

import json
from pathlib import Path

from optidel.store import MANIFEST, canonical, digest
from optidel.store import _files as files_of
from optidel.store import _hash as hash_of


def sign(folder: Path) -> None:
    """Note sizes and hashes of an artifact's files anew."""
    manifest = json.loads((folder / MANIFEST).read_text())
    files = files_of(folder)
    manifest["files"] = {name: path.stat().st_size for name, path in files.items()}
    manifest["hashes"] = {name: hash_of(path) for name, path in files.items()}
    del manifest["check"]
    manifest["check"] = digest(canonical(manifest))
    (folder / MANIFEST).write_text(json.dumps(manifest))
