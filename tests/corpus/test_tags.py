"""What a person decided, read back."""

from pathlib import Path

import polars as pl
import pytest

from optidel.corpus.names import Names, names_of
from optidel.corpus.tags import Tags, load_tags
from optidel.errors import InputError

IDS = ["a.png", "b/c.png", "=d.png", 'e,"f".png']


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tags.csv"
    path.write_text(text)
    return path


def test_each_tag_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,tag\n"e,""f"".png",keep\n\'=d.png,drop\na.png,keep\nb/c.png,look again\n\n')
    assert load_tags(path, IDS) == Tags(keep=("a.png", 'e,"f".png'), drop=("=d.png",), again=("b/c.png",))


def test_parquet_and_another_order_say_the_same(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["b/c.png", "a.png"], "tag": ["drop", "keep"]})
    frame.write_parquet(tmp_path / "tags.parquet")
    other = written(tmp_path, "tag,id\nkeep,a.png\ndrop,b/c.png\n")
    one, two = load_tags(tmp_path / "tags.parquet", IDS), load_tags(other, IDS)
    assert one == two
    assert one.digest == two.digest
    assert one.digest != Tags(keep=("a.png",)).digest


def test_hashed_names_are_found_again(tmp_path: Path) -> None:
    names = names_of("hashed", tmp_path)
    path = written(tmp_path, f"id,tag\n{names('b/c.png')},drop\n")
    assert load_tags(path, IDS, names).drop == ("b/c.png",)
    with pytest.raises(InputError, match="line 2"):
        load_tags(path, IDS, Names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,tag\na.png,kep\n", r"line 2: the tag is 'kep'; did you mean 'keep'"),
        ("id,tag\na.png,keep\ngone.png,drop\n", "line 3: 'gone.png' is no frame of this corpus"),
        ("id,tag\na.png,keep\na.png,drop\n", "line 3: a.png is tagged twice"),
        ("name,tag\na.png,keep\n", "no column 'id'"),
    ],
)
def test_what_cannot_be_used_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_tags(written(tmp_path, text), IDS)
