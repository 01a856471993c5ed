"""A folder of PNG files, named by rank."""

from optidel.export.job import Job


def write_folder(job: Job) -> list[str]:
    """Write ``images/KEY.png``."""
    return write_pictures(job, "images")


def write_pictures(job: Job, folder: str) -> list[str]:
    """Write ``FOLDER/KEY.png``, and return the path of each row's."""
    for start, stop in job.blocks():
        for row, content in job.images(start, stop):
            name = f"{folder}/{row['key']}.png"
            with job.work.writing(name) as path:
                path.write_bytes(content)
    return [f"{folder}/{key}.png" for key in job.rows["key"]]
