"""Importing the pipeline brings nothing that only a training needs."""

import subprocess
import sys

HEAVY = {"torch", "transformers", "monai", "lightning", "onnxruntime"}


def test_the_pipeline_is_imported_without_torch() -> None:
    code = "import sys, optidel.pipeline.pipeline, optidel.training.options; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert HEAVY & set(output.split()) == set()
