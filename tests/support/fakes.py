"""Tiny folders that lie as the published sets do: file names as the sets have them, pictures of a
few pixels.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 12, 16


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def region(top: int = 2, value: int = 255) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + 6, 4:12] = value
    return mask


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif" and array.ndim == 3 and array.shape[0] == 5:
        tifffile.imwrite(path, array, photometric="minisblack")
    else:
        Image.fromarray(array).save(path)


def write(root: Path, names: Iterable[str]) -> Path:
    """Write every name by its look: masks (by their folder or name), text files, videos, images."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".txt", ".csv", ".json", ".avi", ".mp4"):
            path.write_text("video" if path.suffix in (".avi", ".mp4") else "")
        elif any(word in name for word in ("masks", "Ground Truth", "_mask")) or path.name.startswith("p"):
            save(path, region())
        else:
            save(path, picture(seed))
    return root


CUIDS = [f"cju0qkwl35piu0993l0dewe{i:02d}" for i in range(10)]

FAKES: dict[str, tuple[str, list[str]]] = {
    "gastrovision": (
        "Gastrovision",
        ["Esophagitis/a1.jpg", "Colon polyps/b2.jpg", "GastroVision_metadata.csv"],
    ),
    "hyperkvasir": (
        "hyper-kvasir",
        [
            "labeled-images/image-labels.csv",
            "labeled-images/lower-gi-tract/pathological-findings/polyps/0a5f3601-4141-4acf.jpg",
            "labeled-images/upper-gi-tract/anatomical-landmarks/pylorus/1b5f3601-4141-4acf.jpg",
            "unlabeled-images/images/2c5f3601-4141-4acf.jpg",
            f"segmented-images/images/{CUIDS[0]}.jpg",
            f"segmented-images/masks/{CUIDS[0]}.jpg",
            "segmented-images/bounding-boxes.json",
            "labeled-videos/lower-gi-tract/pathological-findings/3d5f3601.avi",
        ],
    ),
    "kvasir-capsule": (
        "kvasir-capsule",
        [
            *(f"labelled_images/Angiectasia/04a78ef00c5245e0_{i}.jpg" for i in (888, 893)),
            "labelled_images/Ulcer/0531325b64674948_12.jpg",
            "labelled_videos/04a78ef00c5245e0.mp4",
            "unlabelled_videos/055bbbec392b4f3a.mp4",
            "metadata.csv",
        ],
    ),
    "cvc-clinicdb": (
        "CVC-ClinicDB",
        [f"{kind}/{i}.tif" for i in (1, 25, 26, 612) for kind in ("Original", "Ground Truth")],
    ),
    "cvc-300": ("CVC-300", [f"{kind}/{i}.png" for i in (149, 150, 208) for kind in ("images", "masks")]),
    "cvc-colondb": (
        "CVC-ColonDB",
        [f"{prefix}{i}.bmp" for i in (1, 2, 300) for prefix in ("", "p", "s", "c")],
    ),
    "ead2019": (
        "EAD2019",
        [
            *(
                f"trainingData_detection/{stem}.{ending}"
                for stem in ("00003", "1772_A_M62_00012")
                for ending in ("jpg", "txt")
            ),
            "trainingData_semanticSegmentation/original_images/1772_A_M62_00022.jpg",
            "trainingData_semanticSegmentation/masks/1772_A_M62_00022_mask.tif",
        ],
    ),
    "edd2020": (
        "EDD2020_release-I_2020-01-15",
        [
            "class_list.txt",
            *(f"originalImages/EDD2020_{stem}.jpg" for stem in ("ACB0001", "INR0002")),
            *(f"bbox/EDD2020_{stem}.txt" for stem in ("ACB0001", "INR0002")),
            *(f"masks/EDD2020_{stem}.tif" for stem in ("ACB0001_BE", "ACB0001_suspicious", "INR0002_polyp")),
        ],
    ),
    "etis": (
        "ETIS-LaribPolypDB",
        [*(f"ETIS-LaribPolypDB/{i}.tif" for i in (1, 196)), *(f"Ground Truth/p{i}.tif" for i in (1, 196))],
    ),
    "imageclefmed": (
        "ImageCLEFmed_Caption",
        ["train/images/ROCO_00001.jpg", "train/images/ROCO_00002.jpg", "train/concepts.csv"],
    ),
    "kvasir-instrument": (
        "kvasir-instrument",
        [
            *(f"images/{stem}.jpg" for stem in CUIDS[:4]),
            *(f"masks/{stem}.png" for stem in CUIDS[:4]),
            "train.txt",
            "test.txt",
        ],
    ),
    "kvasir-seg": (
        "Kvasir-SEG",
        [
            *(f"images/{stem}.jpg" for stem in CUIDS),
            *(f"masks/{stem}.jpg" for stem in CUIDS),
            "kavsir_bboxes.json",
        ],
    ),
    "kvasir-sessile": (
        "sessile-main-Kvasir-SEG",
        [*(f"images/{stem}.jpg" for stem in CUIDS[:3]), *(f"masks/{stem}.jpg" for stem in CUIDS[:3])],
    ),
    "polypgen": (
        "PolypGen2021_MultiCenterData_v3",
        [
            *(
                f"data_C1/{kind}"
                for kind in ("images_C1/326OLCV1_100H0006.jpg", "masks_C1/326OLCV1_100H0006_mask.jpg")
            ),
            *(
                f"data_C3/{kind}"
                for kind in ("images_C3/C3_EndoCV2021_00489_.jpg", "masks_C3/C3_EndoCV2021_00489_mask.jpg")
            ),
            *(
                f"data_C6/{kind}"
                for kind in ("images_C6/EndoCV2021_C6_0100001.jpg", "masks_C6/EndoCV2021_C6_0100001_mask.jpg")
            ),
            "sequenceData/positive/seq2/images_seq2/EndoCV2021_seq2_1.jpg",
            "sequenceData/positive/seq2/masks_seq2/EndoCV2021_seq2_1_mask.jpg",
            "sequenceData/positive/seq2/masks_seq2/EndoCV2021_seq2_1_mask.txt",
            "sequenceData/positive/seq12/images_seq12/12_endocv2021_C2_7.jpg",
            "sequenceData/positive/seq12/masks_seq12/12_endocv2021_C2_7_mask.jpg",
            "sequenceData/negativeOnly/seq1_neg/1_endocv2021_C4_3.jpg",
            "imagesAll_positive/326OLCV1_100H0006.jpg",
        ],
    ),
}
"""Name of a set to the name of its folder and the files in it."""
