"""Image sets in Parquet, in the layout that Hugging Face publishes."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from virb.errors import DataError
from virb.images.parquet import ParquetImages, table_files
from virb.pretraining import sources

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))


def pictures(n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (4 + k % 3, 5, 3)).astype(np.uint8) for k in range(n)]


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write(path, images, labels=None, names=None, column="img"):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {column: [{"bytes": encoded(image), "path": f"{k}.png"} for k, image in enumerate(images)]}
    features = {column: {"_type": "Image"}}
    if labels is not None:
        columns["label"] = labels
        features["label"] = {"_type": "ClassLabel", "names": names}
    table = pa.table(columns)
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=4)


@pytest.fixture
def root(tmp_path):
    images = pictures(10)
    for part, rows in enumerate((slice(0, 6), slice(6, 10))):
        labels = [k % 2 for k in range(10)][rows]
        write(tmp_path / "set" / "plain" / f"train-0000{part}-of-00002.parquet", images[rows], labels, ["cat", "dog"])
    write(tmp_path / "set" / "plain" / "test-00000-of-00001.parquet", pictures(3, seed=9), [0, 1, 0], ["cat", "dog"])
    return tmp_path / "set"


def test_rows_of_all_files_in_order(root):
    files = table_files(root)["train"]
    assert [path.name for path in files] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    rows = ParquetImages("set", files)
    assert (len(rows), rows.classes, rows.label.tolist()) == (10, ("cat", "dog"), [0, 1] * 5)
    for k in (9, 0, 5, 6, 3):
        np.testing.assert_array_equal(rows.image(k), pictures(10)[k])
    assert rows.describe(7).startswith("row 1 of ")
    assert rows.describe(7).endswith("train-00001-of-00002.parquet")


def test_their_identity_is_that_of_the_same_images_in_files(root, tmp_path):
    (tmp_path / "files").mkdir()
    for k, image in enumerate(pictures(10)):
        (tmp_path / "files" / f"{k}.png").write_bytes(encoded(image))
    folder = sources.FileImages("files", tmp_path / "files", [f"{k}.png" for k in range(10)])
    assert ParquetImages("set", table_files(root)["train"]).digest == folder.digest


def test_pretraining_reads_the_train_files_alone(root):
    data = sources.load(str(root))
    assert (len(data), data.classes, data.balance) == (10, ("cat", "dog"), "balanced")
    assert "10 rows of 'img' images with 'label' (train, test); train alone is trained on" in data.notes[0]
    assert sources.load("set", root=root.parent).revision == data.revision  # below the folder of data sets
    (found,) = sources.load(str(root)).batch(np.array([8]))
    np.testing.assert_array_equal(found, pictures(10)[8])


def test_rows_that_cannot_be_read_are_named(tmp_path):
    broken = pa.table({"image": [{"bytes": b"no image", "path": "x"}, {"bytes": None, "path": "y"}], "label": [-1, -1]})
    (tmp_path / "s").mkdir()
    pq.write_table(broken, tmp_path / "s" / "data.parquet")
    rows = ParquetImages("s", table_files(tmp_path / "s")["train"])
    assert rows.label is None
    with pytest.raises(DataError, match=r"row 0 of .*data.parquet is not a readable image"):
        rows.image(0)
    with pytest.raises(DataError, match=r"row 1 of .* has no bytes"):
        rows.image(1)
    with pytest.raises(DataError, match="2 of 2 images of s/train cannot be read"):
        sources.load(str(tmp_path / "s"))


def test_other_tables_are_refused(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="0 columns of images"):
        ParquetImages("a", [tmp_path / "a.parquet"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        ParquetImages("b", [tmp_path / "b.parquet"])
