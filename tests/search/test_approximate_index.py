"""The index of usearch finds nearly all that the exact search finds; without the package there is a hint."""

import sys

import numpy as np
import pytest

from pemt_tf import cli
from pemt_tf.errors import PemtError
from pemt_tf.search.approximate_index import ApproximateIndex
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.exact_search import equals, search
from tests.fake_embeddings import replace_card, write_embeddings


@pytest.fixture
def folder(tmp_path):
    vectors = np.random.default_rng(3).normal(size=(3000, 24)).astype(np.float32)
    return write_embeddings(tmp_path / "embeddings", vectors, per_file=700)


def test_without_the_package_the_message_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(PemtError, match=r"pip install 'pemt-tf\[search\]'"):
        ApproximateIndex(EmbeddingStore(folder))


def recall(index, store, keep=None):
    """Share of the 10 exact neighbours of 50 clips that the index finds as well."""
    shares = []
    for row in range(0, 2500, 50):
        exact = search(store, store.vector(row), 10, keep=keep)
        hits = index.search(store.vector(row), 10, keep)
        assert len(hits) == 10
        similarities = {hit.clip_id: hit.similarity for hit in exact}
        for hit in hits:
            assert hit.similarity == pytest.approx(similarities.get(hit.clip_id, hit.similarity), abs=1e-3)
        shares.append(len({hit.clip_id for hit in hits} & set(similarities)) / 10)
    return float(np.mean(shares))


def test_it_finds_nearly_all(folder):
    pytest.importorskip("usearch")
    store = EmbeddingStore(folder)
    index = ApproximateIndex(store)
    assert recall(index, store) > 0.9
    assert recall(index, store, keep=lambda about: equals(about, "split", "test")) > 0.9
    # Where the index does not reach enough clips, all are looked at.
    assert len(index.search(store.vector(0), 3000)) == 3000
    few = index.search(store.vector(0), 10, lambda about: equals(about, "id", "clip-2999"))
    assert [hit.clip_id for hit in few] == ["clip-2999"]


def test_it_is_kept_and_made_anew_when_it_must_be(folder, capsys):
    pytest.importorskip("usearch")
    path = ApproximateIndex(EmbeddingStore(folder)).path
    made = path.stat().st_mtime_ns
    ApproximateIndex(EmbeddingStore(folder))
    assert path.stat().st_mtime_ns == made
    path.write_bytes(b"damaged")
    store = EmbeddingStore(folder)
    assert ApproximateIndex(store).search(store.vector(5), 1)[0].row == 5
    replace_card(folder, content_hash="c" * 64)
    assert ApproximateIndex(EmbeddingStore(folder)).path != path


def test_the_command_uses_it(folder, capsys):
    pytest.importorskip("usearch")
    assert cli.main(["search", str(folder), "--id", "clip-7", "--approximate", "-k", "5"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 5 and "clip-7\n" not in out
    assert list(folder.glob("approximate-*.usearch"))
