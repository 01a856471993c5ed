"""The three sets that DataDEL pre-trains on."""

from optidel.datasets.dataset import Dataset, Layout, Part

GASTROVISION = Dataset(
    name="gastrovision",
    title="GastroVision",
    role="pre-training",
    task="stills of the upper and lower gastrointestinal tract in 27 classes (landmarks, findings, polyp removal)",
    annotation="none",
    images=8000,
    centres=2,
    licence="CC BY 4.0",
    url="https://osf.io/84e7f/",
    paper="Jha et al. 2023, arXiv 2307.08140",
    hints=("gastrovision",),
    layouts=(
        Layout(
            title="one folder a class",
            parts=(Part(name="stills", images="{finding}/{id}.{ending}", count=(8000,)),),
            generic=True,
        ),
    ),
    may_share=("hyperkvasir", "kvasir-seg", "kvasir-instrument"),
    traps=(
        "part of it comes from Bærum hospital, as HyperKvasir does: check the two against each other by content",
    ),
    unverified=("licence", "layouts"),
    sources=("arXiv 2307.08140", "github.com/DebeshJha/GastroVision"),
)

HYPERKVASIR = Dataset(
    name="hyperkvasir",
    title="HyperKvasir",
    role="pre-training",
    task="gastro- and colonoscopy stills (10,662 of them labelled) and videos",
    annotation="binary",
    classes=("polyp",),
    images=110_079,
    videos=374,
    centres=1,
    licence="CC BY 4.0",
    url="https://datasets.simula.no/hyper-kvasir/",
    paper="Borgli et al. 2020, Scientific Data 7, doi 10.1038/s41597-020-00622-y",
    hints=("hyper-kvasir", "hyperkvasir"),
    layouts=(
        Layout(
            title="hyper-kvasir.zip, or its four parts unpacked side by side",
            parts=(
                Part(
                    name="labelled stills", images="labeled-images/{folders}/{id}.{ending}", count=(10_662,)
                ),
                Part(
                    name="unlabelled stills", images="unlabeled-images/images/{id}.{ending}", count=(99_417,)
                ),
                Part(
                    name="segmented polyps",
                    images="segmented-images/images/{id}.{ending}",
                    masks=("segmented-images/masks/{id}.{ending}",),
                    count=(1000,),
                ),
                Part(
                    name="videos",
                    images="labeled-videos/{folders}/{id}.{ending}",
                    count=(374, 373),
                    kind="videos",
                ),
            ),
        ),
    ),
    traps=(
        "segmented-images is Kvasir-SEG, and the class polyps holds the same pictures: leave both out when a task is Kvasir-SEG or "
        "Kvasir-Sessile",
        "the paper counts 374 videos, the authors' repository 373",
        "patients are not published: stills of one examination are in labelled and unlabelled parts",
    ),
    sources=(
        "PMC7455694",
        "datasets.simula.no/hyper-kvasir",
        "license.txt of the archive",
        "github.com/dataset-ninja/hyper-kvasir",
    ),
)

KVASIR_CAPSULE = Dataset(
    name="kvasir-capsule",
    title="Kvasir-Capsule",
    role="pre-training",
    task="video capsule endoscopy of the small bowel, labelled frames in 14 classes and videos",
    annotation="none",
    images=47_238,
    videos=117,
    centres=1,
    licence="CC BY 4.0",
    url="https://datasets.simula.no/kvasir-capsule/",
    paper="Smedsrud et al. 2021, Scientific Data 8, doi 10.1038/s41597-021-00920-z",
    hints=("kvasir-capsule", "kvasir_capsule"),
    layouts=(
        Layout(
            title="labelled images unpacked, videos beside them",
            parts=(
                Part(
                    name="labelled frames", images="labelled_images/{finding}/{id}.{ending}", count=(47_238,)
                ),
                Part(
                    name="labelled videos",
                    images="labelled_videos/{id}.{ending}",
                    kind="videos",
                    count=(43,),
                    needed=False,
                ),
                Part(
                    name="unlabelled videos",
                    images="unlabelled_videos/{id}.{ending}",
                    kind="videos",
                    count=(74,),
                    needed=False,
                ),
            ),
            ids=r"[0-9a-f]{16}(_\d+)?",
        ),
    ),
    pattern=r"/(?P<video>[0-9a-f]{16})(?:_\d+)?\.\w+$",
    unit=("video",),
    traps=(
        "the labelled images are delivered as one .tar.gz a class: unpack them",
        "frames of one video are alike: keep a video, which is a patient, on one side; 73 % of the frames show normal mucosa",
    ),
    unverified=("licence",),
    sources=(
        "doi 10.1038/s41597-021-00920-z",
        "github.com/simula/kvasir-capsule",
        "github.com/openmedlab/Awesome-Medical-Dataset",
    ),
)

PRETRAINING = (GASTROVISION, HYPERKVASIR, KVASIR_CAPSULE)
