import numpy as np
import pytest
from PIL import Image as Raster

from optidel.errors import RecipeError, WeightsError
from optidel.models.mask_generators import load_mask_generator
from optidel.models.masks import Mask, mask_from_logits, mask_nms, sam_input
from optidel.models.weights import file_sha256


def rectangle(y0: int, y1: int, x0: int, x1: int, score: float) -> Mask:
    field = np.zeros((40, 50), dtype=bool)
    field[y0:y1, x0:x1] = True
    return Mask(mask=field, predicted_iou=score, stability=1.0)


def slow_nms(masks: list[Mask], limit: float) -> list[Mask]:
    kept: list[Mask] = []
    for mask in sorted(masks, key=lambda mask: -mask.score):
        ious = [(mask.mask & other.mask).sum() / (mask.mask | other.mask).sum() for other in kept]
        if all(iou <= limit for iou in ious):
            kept.append(mask)
    return kept


@pytest.mark.parametrize("limit", [0.2, 0.5, 0.7])
def test_nms_is_the_slow_loop(limit: float) -> None:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(60):
        y, x = (int(value) for value in rng.integers(0, 30, 2))
        masks.append(
            rectangle(y, y + int(rng.integers(1, 20)), x, x + int(rng.integers(1, 20)), float(rng.random()))
        )
    assert [id(mask) for mask in mask_nms(masks, limit)] == [id(mask) for mask in slow_nms(masks, limit)]


def test_nms_drops_empty_masks_and_keeps_the_order_of_ties() -> None:
    first, twin, empty, apart = (
        rectangle(0, 9, 0, 9, 1),
        rectangle(0, 9, 0, 9, 1),
        rectangle(3, 3, 3, 3, 1),
        rectangle(20, 30, 20, 30, 1),
    )
    assert mask_nms([first, twin, empty, apart]) == [first, apart]
    assert mask_nms([]) == []


def test_stability_is_the_iou_of_the_masks_at_plus_and_minus_one() -> None:
    ramp = np.tile(np.linspace(-8, 8, 64, dtype=np.float32), (64, 1))
    mask = mask_from_logits(ramp, 1.3, 64, 64, 1024)
    np.testing.assert_array_equal(mask.mask, ramp > 0)
    assert mask.stability == pytest.approx((ramp > 1).sum() / (ramp > -1).sum())
    assert mask.predicted_iou == 1.0
    nothing = mask_from_logits(np.full((64, 64), -9, np.float32), 0.2, 30, 64, 1024)
    assert (nothing.stability, nothing.mask.any(), nothing.mask.shape) == (0.0, False, (30, 64))


def test_logits_over_the_padding_are_left_out() -> None:
    logits = np.full((64, 64), -5, np.float32)
    logits[32:] = 5
    assert not mask_from_logits(logits, 0.5, 49, 100, 1024).mask[:-2].any()


def test_the_input_is_scaled_normalised_and_then_padded_with_zeros() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    batch = sam_input(image, 120)
    assert batch.shape == (1, 3, 120, 120)
    assert not batch[0, :, 60:].any()
    enlarged = np.asarray(
        Raster.fromarray(image).resize((120, 60), Raster.Resampling.BILINEAR), dtype=np.float64
    )
    np.testing.assert_allclose(batch[0, 1, :60], (enlarged[..., 1] - 116.28) / 57.12, rtol=1e-5, atol=1e-5)


def test_an_unknown_backend_is_named_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'regions'"):
        load_mask_generator("region")


def test_auto_falls_back_to_regions_and_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTIDEL_SAM", raising=False)
    assert load_mask_generator().name == "regions"
    assert "weight-free backend 'regions'" in capsys.readouterr().err


def test_weights_that_were_asked_for_are_never_replaced(tmp_path) -> None:
    with pytest.raises(WeightsError, match=r"encoder\.onnx and sam\.onnx not found"):
        load_mask_generator("auto", str(tmp_path))


def test_the_identity_of_weights_is_their_content(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert file_sha256(tmp_path / "a", tmp_path / "b") == f"sha256:{empty}+{empty}"
    with pytest.raises(WeightsError, match="cannot read the weights"):
        file_sha256(tmp_path / "c")
