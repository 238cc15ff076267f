"""`pemt search`: what it finds, prints and shows, and one line for every kind of bad input."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.embed import main as embed
from pemt_tf.export.local_predictor import LocalPredictor, latest_version
from pemt_tf.search import query
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.query import QueryModel
from tests import media_files as media
from tests.fake_embeddings import replace_card, write_embeddings
from tests.report.test_report_page import Page
from tests.search_command import found, refused, run


@pytest.fixture(scope="module")
def cached_model():
    """Loading a model takes most of the time of a small search."""
    return functools.cache(QueryModel)


@pytest.fixture(autouse=True)
def load_once(monkeypatch, cached_model):
    monkeypatch.setattr(query, "QueryModel", lambda directory: cached_model(latest_version(Path(directory))))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Five files in two folders; of two there are two clips each in the manifest."""
    root = tmp_path_factory.mktemp("videos") / "videos"
    for number in range(3):

        def picture(frame, height, width, number=number):
            return np.random.default_rng(100 * number + frame // 5).integers(0, 256, (height, width, 3), np.uint8)

        tone = media.sine(200.0 * 2**number)
        media.write_video(root / "dog" / f"v{number}.mp4", seconds=2, picture=picture, tone=tone)
    media.write_video(root / "cat" / "v0.mp4", seconds=2, audio_codec=None)
    media.write_video(root / "cat" / "sound.mkv", seconds=2, video_codec=None)
    rows = [
        "dog/v0.mp4,0,1,dog,train",
        "dog/v0.mp4,1,2,dog,train",
        "dog/v1.mp4,0,1,dog,test",
        "dog/v1.mp4,1,2,dog,test",
    ]
    rows += ["dog/v2.mp4,,,dog,test", "cat/v0.mp4,,,,test", "cat/sound.mkv,,,,test"]
    (root / "list.csv").write_text("\n".join(["path,start,end,label,split", *rows]))
    return root


@pytest.fixture(scope="module")
def embeddings(videos, backbone_servable, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "embeddings"
    arguments = ["--model", backbone_servable, "--input", videos / "list.csv", "--output", output]
    assert embed([*map(str, arguments), "--clips_per_file", "3"]) == 0
    return output


@pytest.fixture(scope="module")
def of_records(dataset_directory, backbone_servable, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "embeddings"
    assert embed(["--model", str(backbone_servable), "--input", str(dataset_directory), "--output", str(output)]) == 0
    return output


def brute_force(embeddings, vector):
    """(id, similarity) of all clips, best first."""
    store = EmbeddingStore(embeddings)
    vectors = np.concatenate([block.vectors for block in store.blocks()]).astype(np.float64)
    similarity = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
    ids = [about["id"] for about in store.take(list(range(store.count)))]
    return sorted(zip(ids, similarity, strict=True), key=lambda pair: -pair[1])


# What it finds


def test_like_a_file(capsys, embeddings, videos, backbone_servable):
    predictor = LocalPredictor(backbone_servable)  # by itself, not through the code that is tested
    vector = predictor.answer([predictor.record_of(str(videos / "dog/v2.mp4"))])["embedding"][0]
    expected = brute_force(embeddings, vector)
    hits = found(capsys, embeddings, "--like", videos / "dog/v2.mp4")
    assert hits[0]["id"] == "dog/v2.mp4" and hits[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert [hit["id"] for hit in hits] == [name for name, _ in expected]
    assert [hit["similarity"] for hit in hits] == pytest.approx([value for _, value in expected], abs=1e-5)
    assert hits[0] | {"similarity": 1, "end": 2} == {
        "id": "dog/v2.mp4",
        "path": "dog/v2.mp4",
        "start": 0.0,
        "end": 2,
        "label": "dog",
        "split": "test",
        "similarity": 1,
    }


def test_text_says_the_same(capsys, embeddings, videos):
    hits = found(capsys, embeddings, "--like", videos / "dog/v1.mp4", "--start", 1, "--end", 2, "-k", 3)
    assert hits[0]["id"] == "dog/v1.mp4#1-2" and hits[0]["similarity"] == pytest.approx(1, abs=1e-5)
    _, out, _ = run(capsys, embeddings, "--like", videos / "dog/v1.mp4", "--start", 1, "--end", 2, "-k", 3)
    assert [line.split("  ") for line in out.splitlines()] == [
        [
            f"{hit['similarity']:.3f}",
            hit["label"] or "-",
            hit["path"],
            f"{hit['start']:.2f}-{hit['end']:.2f} s",
            hit["id"],
        ]
        for hit in hits
    ]


@pytest.mark.parametrize("name", ["cat/v0.mp4", "cat/sound.mkv"])
def test_a_file_with_one_stream_finds_itself(capsys, embeddings, videos, name):
    hits = found(capsys, embeddings, "--like", videos / name, "-k", 1)
    assert hits[0]["id"] == name and hits[0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_like_a_sound(capsys, embeddings, videos):
    """Of a file of sound the same as --like; of a video its sound alone, which is not the whole video."""
    by_sound = found(capsys, embeddings, "--audio", videos / "cat/sound.mkv")
    assert by_sound == found(capsys, embeddings, "--like", videos / "cat/sound.mkv")
    assert by_sound[0]["id"] == "cat/sound.mkv"
    whole = found(capsys, embeddings, "--like", videos / "dog/v2.mp4", "-k", 1)
    alone = found(capsys, embeddings, "--audio", videos / "dog/v2.mp4", "-k", 1)
    assert whole[0]["similarity"] > alone[0]["similarity"]


def test_sound_alone_is_a_record_without_pictures(cached_model, backbone_servable, videos):
    model = cached_model(backbone_servable)
    sound, whole = (f(str(videos / "dog/v2.mp4")) for f in (model.sound_like, model.like))
    assert sound.clip.jpegs is None and whole.clip.jpegs is not None
    np.testing.assert_array_equal(sound.clip.log_mel, whole.clip.log_mel)


def test_like_a_clip(capsys, embeddings):
    store = EmbeddingStore(embeddings)
    expected = brute_force(embeddings, store.vector(3).astype(np.float64))
    hits = found(capsys, embeddings, "--id", "dog/v1.mp4#1-2", "-k", 6)
    assert [hit["id"] for hit in hits] == [name for name, _ in expected if name != "dog/v1.mp4#1-2"]


def test_clips_of_other_files(capsys, embeddings, videos):
    for asked in (("--id", "dog/v0.mp4#0-1"), ("--like", videos / "dog/v0.mp4")):
        hits = found(capsys, embeddings, *asked, "--other-files")
        # cat/v0.mp4 has the same name, but is another file.
        paths = ["dog/v1.mp4", "dog/v1.mp4", "dog/v2.mp4", "cat/v0.mp4", "cat/sound.mkv"]
        assert sorted(hit["path"] for hit in hits) == sorted(paths)


def test_the_same_file_by_a_name_that_is_not_utf8(tmp_path):
    from pemt_tf.commands.search import _is_same

    file, other = (tmp_path / "dog" / os.fsdecode(name) for name in (b"caf\xe9.mp4", rb"caf\xe9.mp4"))
    for path in (file, other):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for root in (str(tmp_path), ""):
        assert _is_same(file, root, r"dog/caf\xe9.mp4") and _is_same(other, root, r"dog/caf\x5cxe9.mp4")
        assert not _is_same(other, root, r"dog/caf\xe9.mp4")


def test_like_a_file_whose_name_is_not_utf8(capsys, tmp_path, embeddings, videos):
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(videos / "dog/v0.mp4", odd)
    page = tmp_path / "page.html"
    hits = found(capsys, embeddings, "--like", odd, "--html", page, "-k", 2)
    assert hits == found(capsys, embeddings, "--like", videos / "dog/v0.mp4", "-k", 2)
    assert r"caf\xe9.mp4" in page.read_bytes().decode("utf-8")


def test_clips_of_other_files_where_the_folder_has_moved(capsys, tmp_path, embeddings, videos):
    shutil.copytree(embeddings, tmp_path / "e")
    replace_card(tmp_path / "e", root=str(tmp_path / "gone"))
    hits = found(capsys, tmp_path / "e", "--like", videos / "dog/v0.mp4", "--other-files")
    assert len(hits) == 5 and "dog/v0.mp4" not in {hit["path"] for hit in hits}


def test_one_split(capsys, embeddings, videos):
    hits = found(capsys, embeddings, "--like", videos / "dog/v2.mp4", "--split", "train")
    assert {hit["id"] for hit in hits} == {"dog/v0.mp4#0-1", "dog/v0.mp4#1-2"}


def test_embeddings_and_records_find_the_same(capsys, of_records, dataset_directory, backbone_servable, videos):
    arguments = ("--like", videos / "dog/v2.mp4", "--split", "train", "-k", 5)
    kept = found(capsys, of_records, *arguments)
    anew = found(capsys, "--model", backbone_servable, "--data", dataset_directory, *arguments)
    assert [hit["id"] for hit in kept] == [hit["id"] for hit in anew]
    assert [hit["similarity"] for hit in kept] == pytest.approx([hit["similarity"] for hit in anew], abs=1e-5)


# What it shows


def gallery(capsys, path, *arguments):
    code, out, err = run(capsys, *arguments, "--html", path)
    assert code == 0 and str(path) in err and out
    return Page(path.read_text(encoding="utf-8"))


def test_gallery_from_files(capsys, tmp_path, embeddings, videos):
    page = gallery(capsys, tmp_path / "g.html", embeddings, "--like", videos / "dog/v2.mp4", "-k", 7)
    assert "Clips like v2.mp4" in page.text and "7 of 7 clips" in page.text
    assert "Neither the file" not in page.text
    # 3 segments, each with 2 frames and a spectrogram; one clip has no sound and one no pictures.
    assert len(page.all("img")) == 8 * 9 - 3 - 6
    assert len(page.all("li")) == 7 + 2  # and two links to the sections


def test_gallery_from_records(capsys, tmp_path, of_records):
    page = gallery(capsys, tmp_path / "g.html", of_records, "--id", "fake-000003", "-k", 18)
    assert "Neither the file" not in page.text and "18 of 19 clips" in page.text
    # Of two clips with pictures only and two with sound only, a part is missing.
    assert len(page.all("img")) == 19 * 9 - 2 * 3 - 2 * 6


def test_gallery_without_the_files(capsys, tmp_path, embeddings, of_records):
    for source in (embeddings, of_records):
        copy = tmp_path / f"copy-of-{source.parent.name}"
        shutil.copytree(source, copy)
        replace_card(copy, root=str(tmp_path / "gone"), source=str(tmp_path / "gone"))
        clip = EmbeddingStore(copy).take([0])[0]["id"]
        page = gallery(capsys, tmp_path / "g.html", copy, "--id", clip, "-k", 2)
        assert page.text.count("Neither the file nor its record can be read here.") == 3


# What it refuses


def test_too_many_neighbours(capsys, embeddings, videos):
    assert "only 7 clips" in refused(capsys, embeddings, "--like", videos / "dog/v2.mp4", "-k", 8)
    assert "only 6 clips" in refused(capsys, embeddings, "--id", "dog/v2.mp4", "-k", 7)
    assert "-k 0 is not above 0" in refused(capsys, embeddings, "--id", "dog/v2.mp4", "-k", 0)


def test_no_such_clip(capsys, embeddings):
    line = refused(capsys, embeddings, "--id", "dog/v9.mp4")
    assert "no clip with the id 'dog/v9.mp4'" in line and "ids look like 'dog/v0.mp4#0-1'" in line


def test_no_such_split(capsys, embeddings):
    assert "no clip left to find" in refused(capsys, embeddings, "--id", "dog/v2.mp4", "--split", "dev")


def test_another_model(capsys, embeddings, classifier_servable, backbone_servable, videos):
    line = refused(capsys, embeddings, "--like", videos / "dog/v2.mp4", "--model", classifier_servable)
    assert str(backbone_servable) in line and str(classifier_servable) in line and "hash" in line


def test_a_changed_model(capsys, tmp_path, embeddings, backbone_servable, videos):
    copy = tmp_path / "1"
    shutil.copytree(backbone_servable, copy)
    assert found(capsys, embeddings, "--like", videos / "dog/v2.mp4", "--model", tmp_path)  # the same, elsewhere
    next(copy.glob("variables/variables.data*")).open("ab").write(b"x")
    assert "is another model" in refused(capsys, embeddings, "--like", videos / "dog/v2.mp4", "--model", tmp_path)


def test_a_model_that_is_gone(capsys, tmp_path, videos):
    folder = write_embeddings(tmp_path / "e", np.ones((3, 4), np.float32))
    line = refused(capsys, folder, "--like", videos / "dog/v2.mp4")
    assert "no_model" in line and "--model" in line


def test_another_vector_size(capsys, tmp_path, embeddings, backbone_servable, videos):
    """A card that names the model, but files that are not of it."""
    card = EmbeddingStore(embeddings).card
    folder = write_embeddings(tmp_path / "e", np.ones((3, 4), np.float32))
    replace_card(folder, model=card.model, model_hash=card.model_hash)
    assert "the query has 16 numbers, the embeddings have 4" in refused(capsys, folder, "--like", videos / "dog/v2.mp4")


def test_files_that_cannot_be_used(capsys, tmp_path, embeddings, videos):
    assert "there is no such file" in refused(capsys, embeddings, "--like", tmp_path / "none.mp4")
    assert "open_failed" in refused(capsys, embeddings, "--like", videos / "list.csv")
    assert "has no audio" in refused(capsys, embeddings, "--audio", videos / "cat/v0.mp4")
    odd = media.write_floats(tmp_path / "nan.wav", np.full(32_000, np.nan))
    assert "bad_samples" in refused(capsys, embeddings, "--like", odd)
    assert "is a folder, not a file" in refused(capsys, embeddings, "--like", tmp_path)
    assert "holds no finished embeddings" in refused(capsys, tmp_path, "--id", "x")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--id", "x"), "give either a folder of beam_jobs.embed, or a data set"),
        (("somewhere", "--data", "there", "--id", "x"), "not both"),
        (("--data", "there", "--id", "x"), "--data needs --model"),
        (("--data", "there", "--model", "m", "--approximate", "--id", "x"), "--approximate needs stored embeddings"),
    ],
)
def test_contradictions(capsys, arguments, part):
    assert part in refused(capsys, *arguments)


def test_a_gallery_that_cannot_be_written(capsys, tmp_path, embeddings):
    code, _, err = run(capsys, embeddings, "--id", "dog/v2.mp4", "--html", tmp_path / "none" / "g.html")
    assert code == 2 and "cannot write" in err
