"""`pemt explore`: where the page goes, what is said, and one line for every kind of bad input."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from pemt_tf import cli
from tests.fake_embeddings import replace_card, write_embeddings


def run(capsys, *arguments):
    code = cli.main(["explore", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture
def embeddings(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    vectors[3], vectors[4] = np.nan, 0
    return write_embeddings(tmp_path / "embeddings", vectors)


def test_writes_beside_the_embeddings_and_says_what_is_missing(capsys, embeddings):
    code, out, err = run(capsys, embeddings, "--projection", "pca")
    assert code == 0
    page = embeddings / "explore.html"
    assert out == f"{page}: 19 clips, 0 pictures, {page.stat().st_size / 1e6:.1f} MB\n"
    said = err.replace("\N{NO-BREAK SPACE}", " ")
    assert "1 clip is left out: the embedding holds NaN or infinity." in said
    assert "1 clip has an embedding of zeros only" in said
    assert "No pictures: neither the records nor the media files can be read here" in said


def test_sample_and_other_place(capsys, tmp_path, embeddings):
    page = tmp_path / "new folder" / "map.html"
    code, _, err = run(capsys, embeddings, "--output", page, "--limit", 5, "--neighbours", 2, "--picture-mb", 0)
    assert code == 0 and page.is_file() and not page.with_name("map.html.partial").exists()
    assert "of 20, drawn evenly" in err
    text = page.read_text(encoding="utf-8")
    assert "of 20." in text and '"neighbourCount":2' in text


def test_pictures_from_records(capsys, tmp_path, dataset_directory, small_config):
    ids = [f"fake-{number:06d}" for number in range(4)]
    rows = [
        {"id": name, "path": f"{name}.mp4", "start": 0.0, "end": 1.0, "label": "a", "split": "train"}
        | {"has_video": True, "has_audio": True}
        for name in ids
    ]
    made = write_embeddings(tmp_path / "e", np.eye(4, dtype=np.float32), rows)
    replace_card(made, geometry=small_config.geometry, source=str(tmp_path / "gone"))
    assert "4 clips, 0 pictures" in run(capsys, made, "--projection", "pca")[1]
    assert "4 clips, 4 pictures" in run(capsys, made, "--projection", "pca", "--data", dataset_directory)[1]
    replace_card(made, source=str(dataset_directory))
    assert "4 clips, 4 pictures" in run(capsys, made, "--projection", "pca")[1]
    assert "geometry" in refused(capsys, embeddings_of_other_geometry(made), "--data", dataset_directory)


def embeddings_of_other_geometry(made):
    from pemt_tf.config import ClipGeometry

    copy = made.with_name("other")
    shutil.copytree(made, copy)
    replace_card(copy, geometry=ClipGeometry())
    return copy


def test_bad_input(capsys, monkeypatch, tmp_path, embeddings):
    assert "no finished embeddings" in refused(capsys, tmp_path / "nothing")
    assert "--limit 0 is below 1" in refused(capsys, embeddings, "--limit", 0)
    assert "--neighbours -1 is below 1" in refused(capsys, embeddings, "--neighbours", -1)
    assert "--picture-mb nan is below 0" in refused(capsys, embeddings, "--picture-mb", "nan")
    assert "is no folder" in refused(capsys, embeddings, "--media", tmp_path / "nothing")
    assert str(tmp_path / "nothing") in refused(capsys, embeddings, "--data", tmp_path / "nothing")
    (tmp_path / "file").touch()
    assert (
        f"cannot write {tmp_path}/file/page.html"
        in run(capsys, embeddings, "--output", tmp_path / "file" / "page.html")[2]
    )
    monkeypatch.setitem(sys.modules, "umap", None)
    assert "pip install 'pemt-tf[umap]'" in refused(capsys, embeddings, "--projection", "umap")


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["explore", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "pemt explore out/embeddings" in out and "(default: 20000)" in out
