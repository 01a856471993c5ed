"""Shards of a WebDataset: tar files that hold a picture and a JSON file for each key."""

import json
import tarfile
from io import BytesIO

from optidel.export.job import Job


def write_webdataset(job: Job) -> list[str]:
    """Write ``shard-NUMBER.tar`` with ``KEY.png`` and ``KEY.json`` (rank from 1, reason)."""
    names = [f"shard-{shard:06d}.tar" for shard in job.shards]
    for start, stop in job.blocks():
        with job.work.writing(names[start]) as path, tarfile.open(path, "w") as shard:
            for row, content in job.images(start, stop):
                key = row["key"]
                rank = row["rank"] + 1
                label = json.dumps({"rank": rank, "reason": row["reason"]})
                _add(shard, f"{key}.png", content)
                _add(shard, f"{key}.json", label.encode())
    return names


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without owner or time, so that equal exports have equal bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, BytesIO(content))
