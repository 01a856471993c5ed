"""The masked autoencoder that scores a corpus: an artifact of the run, or one that a person names."""

from dataclasses import dataclass

from optidel.store import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of a masked autoencoder. Exactly one of the two fields is set.

    ``artifact`` is a warm-up of this run; ``name`` is the folder or the hub id that a person gave.
    """

    artifact: Artifact | None = None
    name: str | None = None

    @property
    def folder(self) -> str:
        """What a loader takes: a folder in the Hugging Face layout, or a hub id."""
        if self.artifact is not None:
            return str(self.artifact.file("encoder"))

        assert self.name is not None, "weights are an artifact or have a name"
        return self.name

    @property
    def inputs(self) -> dict[str, Artifact]:
        """The artifact as an input of a step; empty for weights from outside."""
        if self.artifact is None:  # then the name enters the step's config
            return {}
        return {"mae": self.artifact}
