"""Write requirements.lock: the pins of constraints.txt with the SHA-256 of each file, for Linux and Python
3.11.

Torch is left out, for which of its builds (CPU, CUDA, ROCm) fits is up to the machine; its version is in
constraints.txt. Run it with the interpreter whose pip should be asked: ``python scripts/lock.py``.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """\
# The pins of constraints.txt with the SHA-256 of each file: Linux, x86-64, Python 3.11; made by
# scripts/lock.py. Torch is not in it: install the build that fits the machine, in the version of
# constraints.txt. Then   pip install --require-hashes --no-deps -r requirements.lock && pip install --no-deps
# .
"""


def main() -> None:
    """Ask pip which files it would install, and write down their hashes."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = [pin for pin in pins if pin and not pin.startswith(("#", "torch=="))]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--isolated", "--dry-run", "--no-deps"]
    command += ["--ignore-installed", "--only-binary", ":all:", "--report", "-", *wanted]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    lines = []
    for item in report["install"]:
        name, version = item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]
        sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    (ROOT / "requirements.lock").write_text(HEAD + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
