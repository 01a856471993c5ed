"""A folder of PNG files, named by rank."""

from optidel.export.job import Job


def write_folder(job: Job) -> list[str]:
    """Write ``images/KEY.png``."""
    for start, stop in job.blocks():
        for row, content in job.images(start, stop):
            name = f"images/{row['key']}.png"
            with job.work.writing(name) as path:
                path.write_bytes(content)
    return [f"images/{key}.png" for key in job.rows["key"]]
