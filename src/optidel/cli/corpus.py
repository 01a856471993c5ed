"""Commands that look at a corpus and train nothing."""

import json

from optidel.cli.app import app
from optidel.cli.options import Config, Images, Json, Out, recipe_of


@app.command(epilog="Example: `optidel index scans/ --out run --json`")
def index(images: Images, out: Out, config: Config = None, as_json: Json = False) -> None:
    """List the frames of a folder; quarantine what cannot be read, with the reason."""
    from optidel.corpus.index import Corpus
    from optidel.pipeline import Pipeline

    artifact = Pipeline(recipe_of(images, out, None, None, None, None, None, config)).index
    corpus = Corpus.load(artifact)
    rejected = [{"source": item.source, "reason": item.reason} for item in corpus.rejected]
    flaws = [frame for frame in corpus.frames if frame.flaw]
    if as_json:
        print(json.dumps({"path": str(artifact.path), "frames": len(corpus), "flawed": len(flaws), "rejected": rejected}))
        return
    print(f"{len(corpus)} frames, {len(flaws)} of them blank or dark; {len(rejected)} files quarantined")
    for item in rejected:
        print(f"  {item['source']}: {item['reason']}")
    print(artifact.path)
