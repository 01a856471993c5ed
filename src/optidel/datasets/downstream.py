"""The eleven sets that DataDEL tests on."""

from optidel.datasets.dataset import Dataset, Layout, Part

POLYP = ("polyp",)
NUMBERS = r"\d+"
CUID = r"c[a-z0-9]{24}"
"""Ids as the labelling tool of the Kvasir sets gives them."""

CLINICDB_SEQUENCES = (
    *(
        (1, 25),
        (26, 50),
        (51, 67),
        (68, 78),
        (79, 103),
        (104, 126),
        (127, 151),
        (152, 177),
        (178, 199),
        (200, 205),
    ),
    *(
        (206, 227),
        (228, 252),
        (253, 277),
        (278, 297),
        (298, 317),
        (318, 342),
        (343, 363),
        (364, 383),
        (384, 408),
        (409, 428),
    ),
    *(
        (429, 447),
        (448, 466),
        (467, 478),
        (479, 503),
        (504, 528),
        (529, 546),
        (547, 571),
        (572, 591),
        (592, 612),
    ),
)
"""First and last frame of the 29 video sequences of CVC-ClinicDB, as its page publishes them (Bernal et al.
2015).
"""


def _pairs(
    title: str, count: int, ids: str, *, mask: str = "{id}", lists: tuple[tuple[str, str], ...] = ()
) -> Layout:
    """Folders ``images`` and ``masks``, which many sets have."""
    part = Part(
        name="stills", images="images/{id}.{ending}", masks=(f"masks/{mask}.{{ending}}",), count=(count,)
    )
    return Layout(title=title, parts=(part,), ids=ids, generic=True, lists=lists)


def _originals(title: str, count: int, images: str, mask: str) -> Layout:
    return Layout(
        title=title, parts=(Part(name="frames", images=images, masks=(mask,), count=(count,)),), ids=NUMBERS
    )


CVC_CLINICDB = Dataset(
    name="cvc-clinicdb",
    title="CVC-ClinicDB (CVC-612)",
    role="downstream",
    task="polyp segmentation, frames of colonoscopy videos, 384 x 288 px",
    annotation="binary",
    classes=POLYP,
    images=612,
    centres=1,
    licence="research and education; images: Hospital Clínic Barcelona, masks: Computer Vision Center",
    url="https://polyp.grand-challenge.org/CVCClinicDB/",
    paper="Bernal et al. 2015, doi 10.1016/j.compmedimag.2015.02.007",
    hints=("clinicdb", "cvc-612", "cvc612"),
    layouts=(
        _originals(
            "the archive of the challenge", 612, "Original/{id}.{ending}", "Ground Truth/{id}.{ending}"
        ),
        _originals("the PNG mirror", 612, "PNG/Original/{id}.png", "PNG/Ground Truth/{id}.png"),
        _originals("the TIF mirror", 612, "TIF/Original/{id}.tif", "TIF/Ground Truth/{id}.tif"),
        _pairs("images and masks", 612, NUMBERS),
    ),
    ranges=CLINICDB_SEQUENCES,
    unit=("sequence",),
    may_share=("cvc-300",),
    traps=(
        "29 video sequences of 25 studies: split by sequence, never by frame; frames of one sequence are near-duplicates",
    ),
    unverified=("licence",),
    sources=("github.com/dataset-ninja/cvc-612", "github.com/openmedlab/Awesome-Medical-Dataset"),
)

CVC_300 = Dataset(
    name="cvc-300",
    title="CVC-300 (test part of EndoScene)",
    role="downstream",
    task="polyp segmentation, frames of colonoscopy videos",
    annotation="binary",
    classes=POLYP,
    images=60,
    centres=1,
    licence="research and education",
    url="https://pages.cvc.uab.es/CVC-Colon/index.php/databases/cvc-endoscenestill/",
    paper="Vázquez et al. 2017, arXiv 1612.00799",
    hints=("cvc-300", "cvc300", "cvc-t", "endoscene"),
    layouts=(_pairs("images and masks", 60, NUMBERS),),
    alone=True,
    may_share=("cvc-colondb", "cvc-clinicdb"),
    traps=(
        "EndoScene joins the 300 frames of CVC-ColonDB and the 612 of CVC-ClinicDB; these 60 are its test frames: check by content before "
        "CVC-ColonDB or CVC-ClinicDB is trained on",
        "the name CVC-300 also means the 300 frames of CVC-ColonDB",
    ),
    unverified=("licence", "centres", "layouts"),
    sources=("the PraNet test set lists 60 images",),
)

CVC_COLONDB = Dataset(
    name="cvc-colondb",
    title="CVC-ColonDB",
    role="downstream",
    task="polyp segmentation, frames of 15 colonoscopy sequences",
    annotation="binary",
    classes=POLYP,
    images=380,
    centres=1,
    licence="research and education, on request",
    url="http://mv.cvc.uab.es/projects/colon-qa/cvccolondb",
    paper="Bernal et al. 2012, Pattern Recognition 45(9), 3166-3182",
    hints=("colondb",),
    layouts=(
        Layout(
            title="the authors' archive, 300 frames: N.bmp and pN.bmp in one folder",
            parts=(Part(name="frames", images="{number}.bmp", masks=("p{number}.bmp",), count=(300, 380)),),
        ),
        _pairs("images and masks, 380 frames", 380, NUMBERS),
    ),
    alone=True,
    may_share=("cvc-300",),
    traps=(
        "15 sequences, one polyp each, but no published list of their frames: test on the whole set, do not split it",
        "the authors' page offers 300 frames, the polyp benchmarks and DataDEL use 380",
    ),
    unverified=("licence", "centres"),
    sources=("mv.cvc.uab.es/projects/colon-qa/cvccolondb", "PMC9902556, table 1"),
)

EAD2019 = Dataset(
    name="ead2019",
    title="EAD2019, endoscopy artefact detection",
    role="downstream",
    task="artefacts: boxes in 7 classes (more frames) and masks in 5 classes that overlap (fewer frames)",
    annotation="layers",
    classes=("instrument", "artefact", "saturation", "bubbles", "specularity"),
    channels=("instrument", "specularity", "artefact", "bubbles", "saturation"),
    box_format="fractions",
    box_classes=("specularity", "saturation", "artifact", "blur", "contrast", "bubbles", "instrument"),
    images=2991,
    centres=6,
    licence="CC BY-NC-SA 4.0",
    url="https://ead2019.grand-challenge.org/",
    paper="Ali et al. 2020, doi 10.1038/s41598-020-59413-5",
    hints=("ead2019", "ead_2019", "endocv2020ead"),
    layouts=(
        Layout(
            title="trainingData_detection and trainingData_semanticSegmentation",
            parts=(
                Part(
                    name="boxes",
                    images="trainingData_detection/{id}.{ending}",
                    boxes=("trainingData_detection/{id}.txt",),
                ),
                Part(
                    name="masks",
                    images="trainingData_semanticSegmentation/original_images/{id}.{ending}",
                    masks=(
                        "trainingData_semanticSegmentation/{folders}/{id}_mask.tif",
                        "trainingData_semanticSegmentation/{id}_mask.tif",
                        "trainingData_semanticSegmentation/masks/{id}.tif",
                        "trainingData_semanticSegmentation/{id}.tif",
                    ),
                ),
            ),
        ),
    ),
    pattern=r"/(?P<video>[^/]*[A-Za-z][^/]*)_\d+\.\w+$",
    unit=("video",),
    traps=(
        "a mask is a TIF of 5 pages (instrument, specularity, artefact, bubbles, saturation) that may overlap; where one class a pixel is "
        "needed, the smaller artefact is on top: instrument, artefact, saturation, bubbles, specularity",
        "frames whose names share a stem come from one video; purely numbered frames have no known origin",
        "boxes are written as class x y w h, centre and size as fractions of the image",
    ),
    unverified=("images", "centres", "licence", "layouts", "unit"),
    sources=("github.com/sharib-vision/EAD2019",),
)

EDD2020 = Dataset(
    name="edd2020",
    title="EDD2020, endoscopy disease detection",
    role="downstream",
    task="5 disease classes in oesophagus, stomach and colon, with boxes and masks that overlap",
    annotation="classes",
    classes=("BE", "polyp", "suspicious", "HGD", "cancer"),
    box_format="corners",
    box_classes=("BE", "suspicious", "HGD", "cancer", "polyp"),
    images=380,
    centres=4,
    licence="CC BY-NC 4.0",
    url="https://edd2020.grand-challenge.org/",
    paper="Ali et al. 2020, arXiv 2003.03376",
    hints=("edd2020", "edd_2020", "endocv2020-endoscopy-disease"),
    layouts=(
        Layout(
            title="EDD2020_release-I",
            parts=(
                Part(
                    name="stills",
                    images="originalImages/{id}.{ending}",
                    masks=("masks/{id}_{class}.tif", "masks/{id}_{class}_{region}.tif"),
                    boxes=("bbox/{id}.txt",),
                    count=(380, 386),
                ),
            ),
        ),
    ),
    pattern=r"/EDD2020_(?P<series>[A-Za-z]+)\d+\.\w+$",
    unit=("series",),
    traps=(
        "one mask file a class, named IMAGE_CLASS.tif, and the regions overlap; where one class a pixel is needed, the graver is on top: "
        "BE, polyp, suspicious, HGD, cancer",
        "the papers count 380 images, the public release holds 386",
        "the letters in the file names are taken for the source of the images; their meaning is not published, and a "
        "split by so few of them is coarse",
        "boxes are written as x1 y1 x2 y2 class, in pixels",
    ),
    unverified=("centres", "unit"),
    sources=(
        "github.com/sharib-vision/EDD2020 (download script names the licence)",
        "github.com/dataset-ninja/edd2020",
    ),
)

ETIS = Dataset(
    name="etis",
    title="ETIS-LaribPolypDB",
    role="downstream",
    task="polyp segmentation, frames of 34 sequences, 1225 x 966 px",
    annotation="binary",
    classes=POLYP,
    images=196,
    centres=1,
    licence="research and education",
    url="https://polyp.grand-challenge.org/EtisLarib/",
    paper="Silva et al. 2014, doi 10.1007/s11548-013-0926-3",
    hints=("etis",),
    layouts=(
        _originals(
            "the archive of the challenge",
            196,
            "ETIS-LaribPolypDB/{id}.{ending}",
            "Ground Truth/p{id}.{ending}",
        ),
        _originals(
            "the same, with GroundTruth in one word",
            196,
            "ETIS-LaribPolypDB/{id}.{ending}",
            "GroundTruth/p{id}.{ending}",
        ),
        _pairs("images and masks", 196, NUMBERS),
    ),
    alone=True,
    traps=(
        "34 sequences with 44 polyps, but no published list of their frames: test on the whole set, do not split it",
    ),
    unverified=("licence",),
    sources=("github.com/AlbertoUAH/polyps-image-segmentation", "PMC9902556, table 1"),
)

IMAGECLEFMED = Dataset(
    name="imageclefmed",
    title="ImageCLEFmed Caption",
    role="downstream",
    task="radiology figures with UMLS concepts (several labels an image) and captions; no segmentation",
    annotation="concepts",
    images=66_662,
    licence="on registration with the organisers",
    url="https://www.imageclef.org/",
    hints=("imageclef",),
    layouts=(
        Layout(
            title="images and a table of concepts or captions",
            parts=(Part(name="figures", images="{folders}/{id}.{ending}"),),
            generic=True,
        ),
    ),
    traps=(
        "nothing here is segmented: OptiDEL lists and checks it, and may pre-train on its images, but takes it for no segmentation task",
        "DataDEL does not say which year's edition its 66,662 images are; no edition looked at has that number",
        "the figures come from PubMed Central: several panels of one article may be on both sides of a random split",
    ),
    unverified=("images", "centres", "licence", "layouts"),
    sources=("imageclef.org/2021/medical/caption",),
)

KVASIR_INSTRUMENT = Dataset(
    name="kvasir-instrument",
    title="Kvasir-Instrument",
    role="downstream",
    task="segmentation of tools (snares, balloons, biopsy forceps) in gastrointestinal endoscopy",
    annotation="binary",
    classes=("instrument",),
    images=590,
    centres=1,
    licence="research and education",
    url="https://datasets.simula.no/kvasir-instrument/",
    paper="Jha et al. 2021, arXiv 2011.08065",
    hints=("instrument",),
    layouts=(
        _pairs(
            "images and masks, with the official split",
            590,
            CUID,
            lists=(("train", "train.txt"), ("test", "test.txt")),
        ),
    ),
    may_share=("hyperkvasir", "gastrovision"),
    traps=(
        "images.tar.gz and masks.tar.gz lie inside the archive: unpack both",
        "from the hospital of HyperKvasir: check the two against each other by content",
    ),
    unverified=("licence", "centres"),
    sources=("arXiv 2011.08065", "datasets.simula.no/kvasir-instrument"),
)

KVASIR_SEG = Dataset(
    name="kvasir-seg",
    title="Kvasir-SEG",
    role="downstream",
    task="polyp segmentation, stills from 332 x 487 to 1920 x 1072 px",
    annotation="binary",
    classes=POLYP,
    images=1000,
    centres=1,
    licence="research and education",
    url="https://datasets.simula.no/kvasir-seg/",
    paper="Jha et al. 2020, arXiv 1911.07069",
    hints=("kvasir-seg", "kvasir_seg", "kvasirseg"),
    layouts=(_pairs("images and masks", 1000, CUID),),
    contained_in=("hyperkvasir",),
    may_share=("gastrovision",),
    traps=(
        "published again as part of HyperKvasir: leave it out when pre-training there",
        "masks are JPEG: their grey levels are cut at half",
        "patients are not published; some stills show the same polyp",
    ),
    unverified=("licence", "centres"),
    sources=(
        "github.com/DebeshJha/2020-MediaEval-Medico-polyp-segmentation",
        "datasets.simula.no/kvasir-seg",
    ),
)

KVASIR_SESSILE = Dataset(
    name="kvasir-sessile",
    title="Kvasir-Sessile",
    role="downstream",
    task="segmentation of sessile (flat, small) polyps, 196 stills of Kvasir-SEG",
    annotation="binary",
    classes=POLYP,
    images=196,
    centres=1,
    licence="research and education",
    url="https://datasets.simula.no/kvasir-seg/",
    paper="Jha et al. 2021, doi 10.1109/JBHI.2021.3049304",
    hints=("sessile",),
    layouts=(_pairs("images and masks", 196, CUID),),
    contained_in=("kvasir-seg",),
    traps=("a subset of Kvasir-SEG, and so of HyperKvasir: never train on one and test on the other",),
    unverified=("licence", "centres"),
    sources=("datasets.simula.no/kvasir-seg", "arXiv 1911.07069"),
)

POLYPGEN = Dataset(
    name="polypgen",
    title="PolypGen",
    role="downstream",
    task="polyp segmentation over centres: single frames, 23 sequences with polyps, 23 without",
    annotation="binary",
    classes=POLYP,
    images=3762,
    centres=6,
    licence="CC BY 4.0",
    url="https://www.synapse.org/#!Synapse:syn26376615",
    paper="Ali et al. 2023, doi 10.1038/s41597-023-01981-y",
    hints=("polypgen",),
    layouts=(
        Layout(
            title="PolypGen2021_MultiCenterData_v3",
            parts=(
                Part(
                    name="single frames",
                    images="data_{centre}/images_{centre}/{id}.{ending}",
                    masks=("data_{centre}/masks_{centre}/{id}_mask.{ending}",),
                    count=(1537,),
                ),
                Part(
                    name="sequences with polyps",
                    images="sequenceData/positive/{sequence}/images_{sequence}/{id}.{ending}",
                    masks=(
                        "sequenceData/positive/{sequence}/masks_{sequence}/{id}_mask.{ending}",
                        "sequenceData/positive/{sequence}/masks_{sequence}/{id}.{ending}",
                    ),
                    count=(2225,),
                ),
                Part(
                    name="sequences without",
                    images="sequenceData/negativeOnly/{sequence}/{id}.{ending}",
                    count=(4275,),
                    negative=True,
                    needed=False,
                ),
            ),
        ),
    ),
    pattern=r"(?:^|[/_])(?P<centre>C[1-6])(?=_)",
    unit=("centre", "sequence"),
    may_share=("edd2020", "ead2019"),
    traps=(
        "split by centre; where file names do not tell the centre, by sequence, which may show a patient of the single frames",
        "masks are JPEG, grey or colour: cut at half; 125 single frames and 515 frames of the polyp sequences have empty masks",
        "imagesAll_positive repeats every image without masks: it is not read",
        "masks_seq2, masks_seq7 and masks_seq8 also hold text files; one image of C3 ends in an underscore that its mask lacks",
    ),
    sources=("doi 10.1038/s41597-023-01981-y", "github.com/DebeshJha/PolypGen"),
)

DOWNSTREAM = (
    CVC_CLINICDB,
    CVC_300,
    CVC_COLONDB,
    EAD2019,
    EDD2020,
    ETIS,
    IMAGECLEFMED,
    KVASIR_INSTRUMENT,
    KVASIR_SEG,
    KVASIR_SESSILE,
    POLYPGEN,
)
