"""An encoder as an ONNX file: the same outputs, whatever the number of images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from optidel.errors import WeightsError
from optidel.models.encoders import load_encoder
from optidel.models.onnx_file import write_onnx


@pytest.mark.parametrize("kind", ["vit", "vit_mae", "dinov2", "dinov2_with_registers"])
def test_outputs_are_those_of_the_encoder(kind: str, encoder_folder, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript, of the extra onnx, is not installed")
    runtime = pytest.importorskip("onnxruntime")
    encoder = load_encoder(encoder_folder(kind)).eval()
    assert write_onnx(encoder, tmp_path / "encoder.onnx") < 1e-4
    session = runtime.InferenceSession((tmp_path / "encoder.onnx").read_bytes())
    [taken] = session.get_inputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("images", "tensor(float)", [3, 32, 32])
    assert [output.name for output in session.get_outputs()] == ["vector", "tokens"]
    rng = np.random.default_rng(1)
    for count in (1, 5):
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        fed = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        vector, tokens = session.run(["vector", "tokens"], {"images": fed})
        x = encoder.normalise(images)
        with torch.no_grad():
            np.testing.assert_allclose(vector, encoder(x).numpy(), atol=1e-4)
            np.testing.assert_allclose(tokens, encoder.tokens(x).numpy(), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]  # nothing lies beside it


def test_a_file_that_differs_is_refused(
    encoder_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript, of the extra onnx, is not installed")
    monkeypatch.setattr("optidel.models.onnx_file.TOLERANCE", -1.0)
    with pytest.raises(WeightsError, match=r"differ by .* from the encoder's"):
        write_onnx(load_encoder(encoder_folder("vit")), tmp_path / "encoder.onnx")
