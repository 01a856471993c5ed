"""Tables of frames as a hospital's folder gives them, without a file on disk."""

import hashlib

import polars as pl

from optidel.records import Frame, to_table


def frames_of(start: int, stop: int) -> pl.DataFrame:
    """Frames ``start`` to ``stop`` of an endless corpus: 40 images a patient, of two modalities."""
    frames = []
    for number in range(start, stop):
        patient = number // 40
        source = f"site-{patient % 7}/patient-{patient:07d}/image-{number:09d}.png"
        frames.append(
            Frame(
                id=source,
                source=source,
                locator="",
                height=480 + number % 3,
                width=640,
                channels=3,
                group=f"{patient:032x}",
                modality="ES" if patient % 2 else "US",
                sha256=hashlib.sha256(str(number).encode()).hexdigest(),
                flaw="" if number % 50 else "blank",
                patient=f"{patient:032x}",
                rule="0 to 255",
            )
        )
    return to_table(Frame, frames)
