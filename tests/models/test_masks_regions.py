import numpy as np

from optidel.models.mask_generators import load_mask_generator


def disc(radius: int, height: int = 300, width: int = 400) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    inside = (x - 250) ** 2 + (y - 120) ** 2 < radius**2
    return np.where(inside[..., None], (210, 90, 80), (90, 140, 110)).astype(np.uint8), inside


def test_the_region_under_a_point_is_the_disc() -> None:
    image, inside = disc(50)
    (mask, *rest) = load_mask_generator("regions")(image, np.array([[250, 120]], np.float32))
    assert (mask.mask & inside).sum() / (mask.mask | inside).sum() > 0.8
    assert (mask.predicted_iou, mask.stability) == (1.0, 1.0)
    assert len(rest) <= 1


def test_points_in_one_region_give_it_once_and_no_points_nothing() -> None:
    image, _ = disc(50)
    regions = load_mask_generator("regions")
    assert len(regions(image, np.array([[250, 120], [255, 125], [240, 110]], np.float32))) <= 2
    assert regions(image, np.zeros((0, 2), np.float32)) == []
    assert (regions.name, regions.weights) == ("regions", "none")


def test_every_mask_holds_a_point_even_at_the_rim_of_the_frame() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    points = np.array([[46.9, 32.9], [0, 0]], np.float32)
    masks = load_mask_generator("regions")(image, points)
    assert masks
    assert all(mask.mask.shape == (33, 47) and (mask.mask[32, 46] or mask.mask[0, 0]) for mask in masks)


def test_equal_input_gives_equal_masks() -> None:
    image, _ = disc(40)
    points = np.array([[250, 120], [20, 20]], np.float32)
    first, second = (load_mask_generator("regions")(image, points) for _ in range(2))
    assert all(np.array_equal(one.mask, other.mask) for one, other in zip(first, second, strict=True))
