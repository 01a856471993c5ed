"""Groups come from the path, a manifest or hashed tags; nothing else of a DICOM file leaves the decoding
process.
"""

import codecs
import re
import stat
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import optidel
from optidel.cli import app
from optidel.corpus.frames import Corpus
from optidel.corpus.groups import compile_pattern, group_key, hashed, match, resolve
from optidel.corpus.index import index_step
from optidel.corpus.options import IndexOptions
from optidel.corpus.pixels import write_pixels
from optidel.errors import InputError, RecipeError
from optidel.records import Frame
from optidel.store import Store

pydicom = pytest.importorskip("pydicom")


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(path)


def frame(**known: str | None) -> Frame:
    nothing = {
        "locator": "",
        "height": 8,
        "width": 8,
        "channels": 1,
        "modality": None,
        "sha256": "",
        "flaw": "",
        "group": None,
    }
    return Frame(**(nothing | {"id": "P1/v2/a.png", "source": "P1/v2/a.png"} | known))  # type: ignore[arg-type]


def test_the_first_known_kind_is_the_group() -> None:
    pattern = compile_pattern(r"(?P<patient>P\d+)/(?P<video>v\d+)/")
    assert pattern
    assert match(pattern, "x/P12/v3/a.png") == {"patient": "P12", "video": "v3"}
    assert match(pattern, "a.png") == {}
    assert resolve(frame(), pattern, {}, None).group == "patient:P1"
    assert resolve(frame(), pattern, {}, "video").group == "video:v2"
    assert resolve(frame(), pattern, {}, "study").group is None
    assert resolve(frame(series="s"), None, {}, None).group == "series:s"
    assert resolve(frame(patient="hash"), pattern, {}, None).patient == "P1"
    assert resolve(frame(patient="hash"), pattern, {"patient": "m"}, None).group == "patient:m"
    assert resolve(frame(), pattern, {"group": "together"}, "video").group == "together"
    assert resolve(frame(), None, {}, None) == frame()


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(", "no regular expression"),
        ("a+", "names no group"),
        ("(?P<patent>a)", "did you mean 'patient'"),
        ("(?P<x>a)", "unknown group"),
    ],
)
def test_patterns_are_checked(make_corpus: Callable[..., Path], pattern: str, part: str) -> None:
    with pytest.raises(RecipeError, match=part):
        optidel.index(make_corpus(1), pattern=pattern)


def test_pattern_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("P1/a.png", "P1/b.png", "P2/a.png", "other.png"):
        save(tmp_path / name)
    corpus = optidel.index(tmp_path, pattern=r"^(?P<patient>P\d)/")
    assert [frame.group for frame in corpus.frames] == ["patient:P1", "patient:P1", "patient:P2", None]
    assert "the pattern matches 3 of 4 frames" in capsys.readouterr().err


def test_slices_of_a_volume_stay_together(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (4, 16, 16), np.uint8))
    np.save(tmp_path / "b.npy", np.random.default_rng(1).integers(0, 256, (16, 16), np.uint8))
    assert [frame.group for frame in optidel.index(tmp_path).frames] == ["series:a.npy"] * 4 + [None]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_manifest(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png", "c.png", "d/e.png"):
        save(tmp_path / "images" / name)
    table = pl.DataFrame(
        {
            "path": ["a.png", "./b.png", "gone.png", "../out.png", str(tmp_path / "images" / "d" / "e.png")],
            "patient": ["1", "1", "2", "2", None],
            "label": ["x", "", None, None, "y"],
            "age": [1, 2, 3, 4, 5],
            "patent": ["?"] * 5,
        }
    )
    path = tmp_path / f"list.{ending}"
    table.write_csv(path) if ending == "csv" else table.write_parquet(path)
    corpus = optidel.index(tmp_path / "images", manifest=str(path))
    assert [(frame.source, frame.group, frame.label) for frame in corpus.frames] == [
        ("a.png", "patient:1", "x"),
        ("b.png", "patient:1", None),
        ("d/e.png", None, "y"),
    ]
    assert {item.source: item.reason for item in corpus.rejected} == {
        "gone.png": "is listed in the manifest but missing",
        "../out.png": "is listed in the manifest but lies outside the images' folder",
    }
    told = capsys.readouterr().err
    assert "not used: age, patent; known columns are path, group" in told
    assert "1 file under" in told
    assert "stays out" in told


COMMAS = "path,patient\r\nP1/ä.png,Müller\r\nP2/b.png,Öz\r\n"
EXCEL = {
    "byte-order mark": COMMAS.encode("utf-8-sig"),
    "semicolons": COMMAS.replace(",", ";").encode("utf-8-sig"),
    "tabs": COMMAS.replace(",", "\t").encode(),
    "a line that names the separator": b"sep=;\r\n" + COMMAS.replace(",", ";").encode("cp1252"),
    "backslashes": COMMAS.replace("/", "\\").encode(),
    "Latin-1": COMMAS.encode("cp1252"),
    "UTF-16, little end first": COMMAS.encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + COMMAS.encode("utf-16-be"),
    "quotes and a comma in a column's name": COMMAS.replace("path,patient", '"path",patient').encode(),
    "UTF-16 without a mark": COMMAS.encode("utf-16-le"),
    "UTF-16 without a mark, big end first": COMMAS.encode("utf-16-be"),
    "UTF-32": COMMAS.encode("utf-32"),
    "lines of the old Macintosh": COMMAS.replace("\r\n", "\r").encode(),
    "every name in quotes": COMMAS.replace("path,patient", '"path";"patient"').replace(",", ";").encode(),
    "accents as letters of their own": unicodedata.normalize("NFD", "P1/ä")
    .join(COMMAS.split("P1/ä"))
    .encode(),
    "a dot before the path": COMMAS.replace("P1/", "./P1/").encode(),
    "spaces around names": COMMAS.replace("path,patient", "path ; patient").replace(",", ";").encode(),
    "empty rows behind": (COMMAS + ",\r\n,\r\n").encode(),
    "capitals": COMMAS.replace("path,patient", "Path,PATIENT").encode(),
    "comments above": ('# made by X, in 2026, by "Y\n\n# second\n' + COMMAS).encode("utf-8-sig"),
    "comments between": COMMAS.replace("P2/", "# P2, has, commas\r\n  # and more, of, them\r\nP2/").encode(),
    "a row that is commented out": COMMAS.replace("P2/", "#P1/ä.png,Meier\r\nP2/").encode(),
    "a header that begins with #": f"# exported, today\n#{COMMAS}".encode(),
    "two byte-order marks": f"\ufeff\ufeff{COMMAS}".encode(),
    "a separator named above a comment": f"sep=;\n# a;b;c\n{COMMAS.replace(',', ';')}".encode(),
    "line breaks in quotes": COMMAS.replace("path", '"no\n# te",path')
    .replace("P1/", '"a\n# b, c, d",P1/')
    .replace("P2/", ",P2/")
    .encode(),
    "a lone quote": COMMAS.replace("path", "lens,path")
    .replace("P1/", '5" wide,P1/')
    .replace("P2/", "x,P2/")
    .encode(),
    "separators behind some rows": COMMAS.replace("Müller", "Müller,,").encode(),
    "apostrophes against formulas": COMMAS.replace("Öz", "'=Öz").replace("Müller", "'-Müller").encode(),
}


@pytest.mark.parametrize("kind", EXCEL)
def test_a_manifest_is_read_as_excel_writes_it(tmp_path: Path, kind: str) -> None:
    for name in ("P1/ä.png", "P2/b.png"):
        save(tmp_path / "images" / name)
    (tmp_path / "list.csv").write_bytes(EXCEL[kind])
    corpus = optidel.index(tmp_path / "images", manifest=str(tmp_path / "list.csv"))
    assert not corpus.rejected
    formula = "apostrophes" in kind
    assert [(frame.source, frame.group) for frame in corpus.frames] == [
        ("P1/ä.png", "patient:-Müller" if formula else "patient:Müller"),
        ("P2/b.png", "patient:=Öz" if formula else "patient:Öz"),
    ]


def test_a_file_may_be_named_like_a_comment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("#1.png", "2.png"):
        save(tmp_path / "images" / name)
    (tmp_path / "list.csv").write_text("path,patient\n#1.png,A\n#3.png,B\n2.png,C\n")
    corpus = optidel.index(tmp_path / "images", manifest=str(tmp_path / "list.csv"))
    assert not corpus.rejected
    assert [(frame.source, frame.group) for frame in corpus.frames] == [
        ("#1.png", "patient:A"),
        ("2.png", "patient:C"),
    ]
    assert "1 row begins with #, the name of no file" in capsys.readouterr().err


def test_a_row_with_too_many_cells_is_named_by_its_line(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    (tmp_path / "list.csv").write_text("path,patient\na.png,Doe, John\n")
    with pytest.raises(InputError, match=r"line 2 has 3 cells, the header 2; put a cell that holds ','"):
        optidel.index(tmp_path / "images", manifest=str(tmp_path / "list.csv"))


def test_a_value_that_is_not_there_is_no_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abcd":
        save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "list.csv").write_text(
        "path,patient,split\na.png,nan,NA\nb.png,NaN,\nc.png,None,null\nd.png,7,train\n"
    )
    corpus = optidel.index(tmp_path / "images", manifest=str(tmp_path / "list.csv"))
    assert [(frame.group, frame.split) for frame in corpus.frames] == [(None, None)] * 3 + [
        ("patient:7", "train")
    ]
    assert "5 cells say NaN, NA, None or null" in capsys.readouterr().err


def test_names_that_hold_a_backslash_or_look_like_a_formula_are_found(tmp_path: Path) -> None:
    names = ["back\\slash.png", "'=quoted.png", "=formula.png", "-rf.png", "dir/a#b.png"]
    for name in names:
        save(tmp_path / "images" / name)
    cells = [name.replace("=formula", "'=formula") for name in names]
    pl.DataFrame({"path": cells}).write_csv(tmp_path / "list.csv")
    corpus = optidel.index(tmp_path / "images", manifest=str(tmp_path / "list.csv"))
    assert {frame.source for frame in corpus.frames} == set(names)
    assert not corpus.rejected


def test_a_pattern_that_never_ends_is_one_sentence(
    make_corpus: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optidel.corpus.groups.PATTERN_SECONDS", 0.2)
    folder = make_corpus(1)
    (folder / "image-000.png").rename(folder / f"{'a' * 40}.png")
    began = time.monotonic()
    with pytest.raises(
        RecipeError, match=r"takes more than 0.2 s over .*aaa.*a repetition inside a repetition"
    ):
        optidel.index(folder, pattern="(?P<patient>(a+)+)b")
    assert time.monotonic() - began < 30
    assert match(re.compile("(?P<patient>a+)"), "b/aa") == {"patient": "aa"}


def test_manifest_of_members(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in "xyz":
            archive.write(tmp_path / "a.png", f"{name}.png")
    pl.DataFrame(
        {"path": ["all.zip#x.png", "all.zip#z.png", "all.zip#gone.png"], "video": ["1", "2", "3"]}
    ).write_csv(tmp_path / "list.csv")
    corpus = optidel.index(tmp_path, manifest=str(tmp_path / "list.csv"))
    assert [(frame.id, frame.group) for frame in corpus.frames] == [
        ("all.zip#x.png", "video:1"),
        ("all.zip#z.png", "video:2"),
    ]
    assert [item.source for item in corpus.rejected] == ["all.zip#gone.png"]


def test_manifests_that_cannot_be_used(make_corpus: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_corpus(2)
    path = tmp_path / "list.csv"
    for text, part in (
        ("name,label\na.png,1\n", "no column 'path'"),
        ("path\n", "lists no file"),
        ("path,label\nimage-000.png,1\nimage-000.png,2\n", "twice"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=part):
            optidel.index(folder, manifest=str(path))
    with pytest.raises(InputError, match="is a spreadsheet; save it as CSV"):
        optidel.index(folder, manifest=str(tmp_path / "list.xlsx"))
    with pytest.raises(InputError, match="cannot be read"):
        optidel.index(folder, manifest=str(tmp_path / "gone.csv"))


def test_the_key_is_kept_and_closed(tmp_path: Path) -> None:
    key = group_key(tmp_path)
    assert key == group_key(tmp_path)
    assert len(key) == 32
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / ".group-key").stat().st_mode) == 0o600
    assert group_key(None) != group_key(None)
    assert hashed(key, "patient", "A") == hashed(key, "patient", " A ") != hashed(key, "study", "A")
    assert hashed(key, "patient", "A") != hashed(group_key(None), "patient", "A")
    assert hashed(key, "patient", " ") is None


MARKER = "MARKERZQX"
TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
NEEDED = {
    "SpecificCharacterSet",
    "NumberOfFrames",
    "WindowCenter",
    "WindowWidth",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelAspectRatio",
}
"""What the reader acts on; these are spoilt one at a time."""


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One data element, explicit VR, little endian; written here because pydicom refuses to write such
    values.
    """
    value += b" " * (len(value) % 2)
    length = bytes(2) + len(value).to_bytes(4, "little") if vr in LONG else len(value).to_bytes(2, "little")
    return (
        (tag >> 16).to_bytes(2, "little")
        + (tag & 0xFFFF).to_bytes(2, "little")
        + vr.encode()
        + length
        + value
    )


LONG = ("OB", "OW", "SQ", "UC", "UN", "UR", "UT")


def planted(**said: str) -> bytes:
    """A readable file in which every string attribute that the standard knows is a marker, in sequences and
    private tags too.

    Args:
        said: attributes that say something else.
    """
    from pydicom.datadict import DicomDictionary, tag_for_keyword

    values: dict[int, tuple[str, bytes]] = {
        0x00290010: ("LO", f"{MARKER} CREATOR".encode()),
        0x00291001: ("LO", MARKER.encode()),
    }
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if (
            vr in TEXT
            and keyword
            and keyword not in NEEDED
            and 2 < tag >> 16 != 4
            and not 0x5000 <= tag >> 16 < 0x7FE0
        ):
            values[tag] = (vr, MARKER.encode())
    nested = b"".join(element(tag, *value) for tag, value in sorted(values.items()) if tag >> 16 > 4)
    item = b"\xfe\xff\x00\xe0" + len(nested).to_bytes(4, "little") + nested
    values[0x00081110] = ("SQ", item)
    values[0x00089121] = ("SQ", item)
    small = {
        "SamplesPerPixel": 1,
        "Rows": 16,
        "Columns": 16,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    for keyword, value in small.items():
        values[tag_for_keyword(keyword)] = ("US", value.to_bytes(2, "little"))
    usual = {"Modality": "MR", "SOPClassUID": MR_IMAGE, "PhotometricInterpretation": "MONOCHROME2"}
    for keyword, text in (usual | said).items():
        tag = tag_for_keyword(keyword)
        values[tag] = (DicomDictionary[tag][0], text.encode())
    values[0x7FE00010] = ("OW", np.random.default_rng(0).integers(0, 4096, (16, 16), np.uint16).tobytes())
    syntax = values.pop(0x00020010, ("UI", b"1.2.840.10008.1.2.1"))[1]
    meta = element(0x00020002, "UI", MR_IMAGE.encode()) + element(0x00020003, "UI", MARKER.encode())
    meta += element(0x00020010, "UI", syntax) + element(0x00020013, "SH", MARKER.encode())
    head = bytes(128) + b"DICM" + element(0x00020000, "UL", len(meta).to_bytes(4, "little")) + meta
    return head + b"".join(element(tag, *value) for tag, value in sorted(values.items()))


MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def test_nothing_of_a_dicom_file_leaks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    whole = planted()
    assert whole.count(MARKER.encode()) > 1000
    (folder / "good.dcm").write_bytes(whole)
    (folder / "noending").write_bytes(whole)
    for keyword in (
        "Modality",
        "SOPClassUID",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "RescaleSlope",
        "TransferSyntaxUID",
    ):
        (folder / f"bad-{keyword}.dcm").write_bytes(planted(**{keyword: MARKER}))
    (folder / "bad-window.dcm").write_bytes(planted(WindowCenter=MARKER, WindowWidth=MARKER))
    (folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    rng = np.random.default_rng(0)
    for number in range(30):
        mutant = np.frombuffer(whole, np.uint8).copy()
        at = rng.integers(132, len(mutant), 20)
        mutant[at] = rng.integers(0, 256, 20)
        (folder / f"mutant-{number}.dcm").write_bytes(mutant.tobytes())
    store = Store(tmp_path / "run")
    artifact = index_step(store, folder, IndexOptions())
    corpus = Corpus.load(artifact)
    good = {frame.source: frame for frame in corpus.frames}
    assert {"good.dcm", "noending"} <= good.keys()
    assert good["good.dcm"].group == f"patient:{good['good.dcm'].patient}"
    assert good["good.dcm"].patient == hashed(group_key(store.root), "patient", MARKER)
    assert good["good.dcm"].modality == "MR"
    store.build("pixels", lambda work: write_pixels(work, corpus, 16), version=1, config={})
    shown = CliRunner().invoke(app, ["index", str(folder), "--out", str(tmp_path / "run")]).output
    out, err = capfd.readouterr()
    assert MARKER not in shown + out + err
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path.name
    for name in (
        "frames.parquet",
        "scan.parquet",
        "rejected.parquet",
        "quality.parquet",
    ):  # compressed pages hide text from the scan above
        assert MARKER not in artifact.table(name).write_json()
