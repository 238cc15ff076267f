"""The search against a brute-force one with plain loops, in memory and in files, and what damaged files say."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pemt_tf.errors import PemtError
from pemt_tf.search import embedding_store, embedding_table
from pemt_tf.search.embedding_card import CARD_NAME, model_hash
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.embedding_table import EmbeddedClips
from pemt_tf.search.exact_search import equals, search
from pemt_tf.search.record_embeddings import embed_split
from tests.fake_embeddings import replace_card, rows_about, write_embeddings

WIDTH = 6


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def random_vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def in_memory(vectors):
    return EmbeddedClips(embedding_table.embedding_table(rows_about(len(vectors)), vectors))


@pytest.fixture(params=["memory", "files"])
def clips_of(request, tmp_path, monkeypatch):
    """Makes something to search of vectors; blocks are small, so that searches go over several."""
    monkeypatch.setattr(embedding_table, "BLOCK_ROWS", 7)
    monkeypatch.setattr(embedding_store, "BLOCK_ROWS", 7)
    if request.param == "memory":
        return in_memory
    numbers = iter(range(1000))
    return lambda vectors: EmbeddingStore(write_embeddings(tmp_path / str(next(numbers)), vectors))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 40), k=st.integers(1, 45), seed=st.integers(0, 2**31))
def test_neighbours_equal_brute_force(clips_of, count, k, seed):
    vectors = random_vectors(count, seed)
    query = random_vectors(1, seed + 1)[0]
    similarity = [cosine(query.tolist(), vector) for vector in vectors.tolist()]
    expected = sorted(range(count), key=lambda row: -similarity[row])[:k]
    hits = search(clips_of(vectors), query, k)
    assert [hit.row for hit in hits] == expected
    assert [hit.similarity for hit in hits] == pytest.approx([similarity[row] for row in expected], abs=1e-6)
    about = rows_about(count)
    for hit in hits:
        row = about[hit.row]
        assert (hit.clip_id, hit.path, hit.start, hit.end) == (row["id"], row["path"], row["start"], row["end"])
        assert (hit.label or None, hit.split or None) == (row["label"], row["split"])


def test_length_does_not_matter_and_ties_keep_the_order_of_rows(clips_of):
    vectors = np.zeros((20, WIDTH), np.float32)
    vectors[:, 0] = np.where(np.arange(20) % 2, 3.0, 0.5)
    vectors[4] = [-1, 0, 0, 0, 0, 0]
    hits = search(clips_of(vectors), np.array([9, 0, 0, 0, 0, 0], np.float32), 20)
    assert [hit.row for hit in hits] == [*range(4), *range(5, 20), 4]
    assert [hit.similarity for hit in hits] == [1.0] * 19 + [-1.0]


def test_a_vector_of_zeros_is_like_nothing(clips_of):
    vectors = random_vectors(3)
    vectors[1] = 0
    assert {hit.row: hit.similarity for hit in search(clips_of(vectors), vectors[0], 3)}[1] == 0.0
    assert [hit.similarity for hit in search(clips_of(vectors), np.zeros(WIDTH, np.float32), 3)] == [0.0] * 3


def test_filters_and_exclusion(clips_of):
    vectors = random_vectors(30, 4)
    clips = clips_of(vectors)
    every = [hit.row for hit in search(clips, vectors[0], 30)]
    assert every[0] == 0
    without = search(clips, vectors[0], 30, exclude="clip-0")
    assert [hit.row for hit in without] == every[1:]
    in_test = search(clips, vectors[0], 30, keep=lambda about: equals(about, "split", "test"))
    assert [hit.row for hit in in_test] == [row for row in every if row % 3 == 1]


def test_single_clips(clips_of):
    vectors = random_vectors(25, 7)
    clips = clips_of(vectors)
    assert (clips.count, clips.width) == (25, WIDTH)
    assert [clips.find(f"clip-{row}") for row in (0, 8, 9, 10, 24)] == [0, 8, 9, 10, 24]
    assert clips.find("clip") is None
    for row in (0, 6, 7, 10, 24):
        np.testing.assert_array_equal(clips.vector(row), vectors[row])
    assert [about["id"] for about in clips.take([24, 3, 11])] == ["clip-24", "clip-3", "clip-11"]


def test_another_width_is_refused(clips_of):
    with pytest.raises(PemtError, match="the query has 4 numbers, the embeddings have 6"):
        search(clips_of(random_vectors(3)), np.ones(4, np.float32), 1)


def test_reading_takes_the_memory_of_one_block(tmp_path):
    """Arrow's own count of bytes, while 40 blocks are gone through."""
    vectors = np.ones((40 * 8192, 32), np.float32)
    clips = EmbeddingStore(write_embeddings(tmp_path / "e", vectors, per_file=10 * 8192))
    whole, most = vectors.nbytes, 0
    before = pa.total_allocated_bytes()
    for _ in clips.blocks():
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 0.35 * whole


# What is damaged


@pytest.fixture
def folder(tmp_path):
    return write_embeddings(tmp_path / "embeddings", random_vectors(25))


def refused(folder, part):
    with pytest.raises(PemtError) as caught:
        search(EmbeddingStore(folder), np.ones(WIDTH, np.float32), 3)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_card(tmp_path):
    refused(tmp_path, "holds no finished embeddings")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 1}', '{"format_version": 1, "geometry": {"x": 1}}', '"x"']
)
def test_damaged_card(folder, text):
    (folder / CARD_NAME).write_text(text)
    refused(folder, "is damaged")


def test_card_of_another_release(folder):
    (folder / CARD_NAME).write_text('{"format_version": 9}')
    refused(folder, "format version 9")


def test_nothing_in_it(folder):
    replace_card(folder, files={}, written=0, inputs=0)
    refused(folder, "holds no clip")


def test_file_is_gone(folder):
    next((folder / "vectors").iterdir()).unlink()
    refused(folder, "cannot be read (No such file")


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + bytes(100) + b"PAR1"])
def test_unreadable_file(folder, content):
    next((folder / "vectors").iterdir()).write_bytes(content)
    refused(folder, "cannot be read")


def test_cut_file(folder):
    path = next((folder / "vectors").iterdir())
    path.write_bytes(path.read_bytes()[:-10])
    refused(folder, "cannot be read")


def test_file_with_fewer_rows_than_the_card_says(folder):
    path = sorted((folder / "vectors").iterdir())[1]
    pq.write_table(pq.read_table(path).slice(0, 4), path)
    refused(folder, "holds 4 clips, the card says 10")


def test_file_without_a_column(folder):
    path = sorted((folder / "vectors").iterdir())[1]
    pq.write_table(pq.read_table(path).drop(["vector"]), path)
    refused(folder, "has no column 'vector'")


def test_vectors_of_another_width(folder):
    path = sorted((folder / "vectors").iterdir())[0]
    pq.write_table(embedding_table.embedding_table(rows_about(10), np.ones((10, 3), np.float32)), path)
    refused(folder, "holds vectors of 3 numbers, the card says 6")


def test_vectors_of_another_type(folder):
    path = sorted((folder / "vectors").iterdir())[0]
    table = pq.read_table(path)
    pq.write_table(table.set_column(8, "vector", pa.array([[1.0]] * 10)), path)
    refused(folder, "expected a fixed number of float32")


def test_counts_of_a_card_must_add_up(folder):
    with pytest.raises(PemtError, match="clips were lost or came twice"):
        replace_card(folder, failed={"open_failed": 1})
    with pytest.raises(PemtError, match="clips were lost or came twice"):
        replace_card(folder, written=24, inputs=24)


def test_hash_of_a_model_tells_names_and_bytes(tmp_path):
    for folder, files in {
        "a": {"saved_model.pb": "one", "variables/v": "two"},
        "same": {"variables/v": "two", "saved_model.pb": "one"},
        "bytes": {"saved_model.pb": "one", "variables/v": "tw0"},
        "name": {"saved_model.pb": "one", "variables/w": "two"},
        "border": {"saved_model.pb": "onetwo", "variables/v": ""},
    }.items():
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    hashes = {path.name: model_hash(path) for path in tmp_path.iterdir()}
    assert hashes["a"] == hashes["same"]
    assert len(set(hashes.values())) == 4


def test_records_that_a_model_does_not_take_are_refused(clip_source):
    class Predictor:
        metadata = SimpleNamespace(config=SimpleNamespace(geometry=clip_source.geometry))

    sequences = dataclasses.replace(clip_source, payload="sequence_example")
    with pytest.raises(PemtError, match=r"holds records of the form 'sequence_example'.* --payload example"):
        embed_split(Predictor(), sequences, "train")
