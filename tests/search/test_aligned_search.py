"""Search across modalities: from a run's aligned space to servable, embeddings and `pemt search --aligned`."""

import dataclasses
import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.embed import main as embed
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.export.local_predictor import latest_version
from pemt_tf.search import query as query_module
from pemt_tf.search.approximate_index import ApproximateIndex
from pemt_tf.search.embedding_card import EmbeddingCard
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.embedding_table import EmbeddedClips, embedding_table
from pemt_tf.search.exact_search import equals, search
from pemt_tf.search.query import QueryModel
from tests import media_files as media
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_VIDEO
from tests.fake_embeddings import replace_card, rows_about, write_embeddings
from tests.search_command import found, refused, run

AUDIO_ONLY, SILENT = "sound.mkv", "silent.mp4"


@pytest.fixture(scope="module")
def cached_model():
    """Loading a model takes most of the time of a small search."""
    return functools.cache(QueryModel)


@pytest.fixture(autouse=True)
def load_once(monkeypatch, cached_model):
    monkeypatch.setattr(query_module, "QueryModel", lambda directory: cached_model(latest_version(Path(directory))))


# On made vectors


@pytest.fixture(scope="module")
def made():
    """Clip n points to angle n in both modalities; some lack one of them (`rows_about`)."""
    angles = np.radians(np.arange(12) * 7.0)
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = rows_about(12)
    table = embedding_table(rows, np.ones((12, 5)), {"aligned_visual": places, "aligned_audio": places})
    return rows, table


@pytest.mark.parametrize(("column", "flag"), [("aligned_visual", "has_video"), ("aligned_audio", "has_audio")])
def test_only_clips_with_the_modality_are_found_nearest_first(made, column, flag):
    rows, table = made
    query = np.array([np.cos(np.radians(36.0)), np.sin(np.radians(36.0))], np.float32)
    hits = search(EmbeddedClips(table, column), query, 12)
    expected = sorted((abs(7.0 * n - 36), n) for n, row in enumerate(rows) if row[flag])
    assert [hit.row for hit in hits] == [n for _, n in expected]
    assert [hit.similarity for hit in hits] == pytest.approx([np.cos(np.radians(d)) for d, _ in expected], abs=1e-5)
    assert table.column(column).null_count == sum(not row[flag] for row in rows) > 0
    tested = search(EmbeddedClips(table, column), query, 12, keep=lambda about: equals(about, "split", "test"))
    assert [hit.row for hit in tested] == [n for _, n in expected if rows[n]["split"] == "test"]


def test_the_embeddings_themselves_do_not_change(made):
    _, table = made
    plain = embedding_table(rows_about(12), np.ones((12, 5)))
    assert table.drop(["aligned_visual", "aligned_audio"]).equals(plain)


# With a model


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos") / "videos"
    for number in range(3):

        def picture(frame, height, width, number=number):
            return np.random.default_rng(100 * number + frame // 5).integers(0, 256, (height, width, 3), np.uint8)

        media.write_video(root / f"v{number}.mp4", seconds=1, picture=picture, tone=media.sine(200.0 * 2**number))
    media.write_video(root / SILENT, seconds=1, audio_codec=None)
    media.write_video(root / AUDIO_ONLY, seconds=1, video_codec=None)
    return root


@pytest.fixture(scope="module")
def embeddings(videos, aligned_servable, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "embeddings"
    arguments = ["--model", aligned_servable, "--input", videos, "--output", output, "--clips_per_file", "2"]
    assert embed([*map(str, arguments)]) == 0
    return output


@pytest.fixture(scope="module")
def table(embeddings):
    """The rows of the embeddings, by id."""
    return {row["id"]: row for row in pq.read_table(embeddings / "vectors").to_pylist()}


@pytest.fixture(scope="module")
def signatures(aligned_servable):
    model = tf.saved_model.load(str(aligned_servable))
    yield model.signatures
    del model


def test_the_file_of_a_run_gives_back_the_space(aligned_run):
    space = aligned_run.load_aligned_space()
    assert (space.hidden, space.width) == (16, 6)
    with np.load(aligned_run.path / "aligned_space.npz") as arrays:
        assert set(arrays.files) == {"visual/kernel", "audio/kernel", "log_scale"}
        for modality in ("visual", "audio"):
            np.testing.assert_array_equal(space.projections[modality].kernel, arrays[f"{modality}/kernel"])
        assert float(arrays["log_scale"]) == pytest.approx(np.log(1 / 0.07))


def test_the_servable_places_records_as_the_run_does(aligned_run, signatures, clip_source):
    files = list(clip_source.files["test"])
    raw = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    (batch,) = evaluation_clips(clip_source, "test", len(raw))
    inputs = model_inputs(batch, ("visual", "audio"))
    outputs = aligned_run.load_backbone()(inputs, training=False)
    space, answer = aligned_run.load_aligned_space(), signatures["serving_default"](examples=tf.constant(raw))
    for modality, missing in (("visual", WITHOUT_VIDEO), ("audio", WITHOUT_AUDIO)):
        mask, context = inputs[f"{modality}_mask"].numpy(), outputs[f"{modality}_context"].numpy()
        mean = (context[:, 1:] * mask[..., None]).sum(1) / np.maximum(mask.sum(1), 1)[:, None]
        projected = mean @ np.asarray(space.projections[modality].kernel)
        expected = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-6)
        places = answer[f"aligned_{modality}"].numpy()
        np.testing.assert_allclose(places, expected, atol=2e-5)
        nowhere = {int(clip_id[-1:]) for clip_id in batch["id"].numpy()[~places.any(axis=1)]}
        assert nowhere == {missing, WITHOUT_BOTH}


def test_signatures_of_media_place_each_modality_by_itself(signatures, small_config):
    geometry, rng = small_config.geometry, np.random.default_rng(0)
    frames = tf.constant(rng.integers(0, 256, (2, 3, geometry.frames_per_segment, 24, 24, 3), np.uint8))
    waveform = tf.constant(rng.normal(0, 0.1, (2, 3, geometry.samples_per_segment)).astype(np.float32))
    both = signatures["embed"](frames=frames, waveform=waveform)
    assert set(both) == {"embedding", "aligned_visual", "aligned_audio"}
    seen, heard = signatures["embed_visual"](frames=frames), signatures["embed_audio"](waveform=waveform)
    assert set(seen) == {"embedding", "aligned_visual"} and set(heard) == {"embedding", "aligned_audio"}
    np.testing.assert_allclose(seen["aligned_visual"], both["aligned_visual"], atol=1e-5)
    np.testing.assert_allclose(heard["aligned_audio"], both["aligned_audio"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both["aligned_audio"], axis=1), 1, atol=1e-5)


def test_embed_writes_what_the_servable_says_and_the_card_says_what_it_is(
    embeddings, table, videos, cached_model, aligned_servable
):
    predictor = cached_model(aligned_servable)
    for name, row in table.items():
        answer = predictor.answer([predictor.record_of(str(videos / name))])
        np.testing.assert_allclose(row["vector"], answer["embedding"][0], atol=1e-5)
        for column, has in (("aligned_visual", row["has_video"]), ("aligned_audio", row["has_audio"])):
            if has:
                np.testing.assert_allclose(row[column], answer[column][0], atol=1e-5)
            else:
                assert row[column] is None
    card = EmbeddingCard.read(embeddings)
    assert card.aligned is not None
    assert card.aligned.size == 6 and card.aligned.rows == {"aligned_audio": 4, "aligned_visual": 4}
    assert (
        "null where a clip lacks the modality"
        in json.loads((embeddings / "embeddings.json").read_text())["aligned"]["meaning"]
    )
    assert json.loads(dataclasses.replace(card, aligned=None).text()).get("aligned") is None


@pytest.mark.parametrize(
    ("flag", "query", "by", "of", "missing"),
    [
        ("--audio", AUDIO_ONLY, "aligned_audio", "aligned_visual", AUDIO_ONLY),
        ("--audio", "v1.mp4", "aligned_audio", "aligned_visual", AUDIO_ONLY),
        ("--frames", SILENT, "aligned_visual", "aligned_audio", SILENT),
        ("--frames", "v1.mp4", "aligned_visual", "aligned_audio", SILENT),
    ],
)
def test_search_across_modalities(capsys, embeddings, table, videos, flag, query, by, of, missing):
    """Audio finds every clip with frames, one without sound among them; frames find those with sound."""
    cosines = {name: float(np.dot(table[query][by], row[of])) for name, row in table.items() if row[of] is not None}
    expected = sorted(cosines, key=lambda name: -cosines[name])
    hits = found(capsys, embeddings, flag, videos / query, "--aligned")
    assert [hit["id"] for hit in hits] == expected and missing not in expected and len(expected) == 4
    assert [hit["similarity"] for hit in hits] == pytest.approx([cosines[name] for name in expected], abs=1e-5)


def test_frames_alone_without_alignment(capsys, embeddings, videos):
    hits = found(capsys, embeddings, "--frames", videos / SILENT)
    assert hits == found(capsys, embeddings, "--like", videos / SILENT) and len(hits) == 5


def test_records_are_searched_without_embeddings(capsys, aligned_servable, dataset_directory, videos):
    arguments = ("--model", aligned_servable, "--data", dataset_directory, "--frames", videos / SILENT, "--aligned")
    hits = found(capsys, *arguments, "-k", 10)
    assert {hit["id"] for hit in hits} == {f"fake-{n:06}" for n in range(12)} - {
        f"fake-{n:06}" for n in (WITHOUT_AUDIO, WITHOUT_BOTH)
    }


def test_an_approximate_index_holds_the_vectors_that_there_are(embeddings, table):
    pytest.importorskip("usearch")
    store = EmbeddingStore(embeddings, "aligned_visual")
    query = np.array(table[AUDIO_ONLY]["aligned_audio"], np.float32)
    for _ in range(2):  # built, then loaded
        index = ApproximateIndex(store)
        assert index.path.name.endswith("-aligned_visual.usearch") and index.path.is_file()
        exact = search(store, query, 5)
        assert [hit.clip_id for hit in index.search(query, 5)] == [hit.clip_id for hit in exact]
    assert len(exact) == 4


def test_the_page_says_what_was_compared(capsys, embeddings, videos, tmp_path):
    page = tmp_path / "page.html"
    assert run(capsys, embeddings, "--audio", videos / AUDIO_ONLY, "--aligned", "--html", page)[0] == 0
    assert "by cosine similarity of their frames to this audio" in page.read_text(encoding="utf-8")


def test_what_cannot_be_searched(capsys, embeddings, videos, tmp_path):
    old = write_embeddings(tmp_path / "old", np.ones((3, 4), np.float32))
    line = refused(capsys, old, "--audio", videos / AUDIO_ONLY, "--aligned")
    assert "has no vectors aligned_visual" in line and "--set pretrain.alignment_weight=1" in line
    with pytest.raises(PemtError, match=r"^m has no aligned space of frames and audio; pretrain with --set "):
        QueryModel.require_aligned(cast(QueryModel, SimpleNamespace(directory="m", outputs=("embedding",))))
    for query in (("--like", videos / "v0.mp4"), ("--id", "v0.mp4")):
        assert "--aligned compares audio with frames" in refused(capsys, embeddings, *query, "--aligned")
    assert "has no frames" in refused(capsys, embeddings, "--frames", videos / AUDIO_ONLY, "--aligned")
    assert "has no audio" in refused(capsys, embeddings, "--audio", videos / SILENT, "--aligned")


def test_a_folder_in_which_no_clip_has_frames_says_so(tmp_path):
    folder = write_embeddings(tmp_path / "sounds", np.ones((3, 4), np.float32))
    replace_card(folder, aligned={"size": 4, "rows": {"aligned_visual": 0, "aligned_audio": 3}})
    with pytest.raises(PemtError, match=r"no clip of .*sounds has frames, so nothing can be compared"):
        EmbeddingStore(folder, "aligned_visual")
    assert EmbeddingStore(folder, "aligned_audio").vectors == 3
