"""`pemt search`: which clips are most like a file, or like one of themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.commands.arguments import add_command, say
from pemt_tf.errors import PemtError
from pemt_tf.files.names import original
from pemt_tf.files.output_check import require_writable_file
from pemt_tf.files.strict_json import json_text
from pemt_tf.models.finite_outputs import require_finite

if TYPE_CHECKING:
    import numpy as np

    from pemt_tf.search.embedding_store import EmbeddingStore
    from pemt_tf.search.exact_search import Filter, Hit, Searchable
    from pemt_tf.search.query import Query

SUMMARY = "find the clips that are most like a video, a sound or another clip"
EXAMPLE = """pemt search out/embeddings --like clip.mp4 -k 10 --html gallery.html
  pemt search out/embeddings --audio bark.wav
  pemt search out/embeddings --id dog/a.mp4 --other-files
  pemt search --model out/servable --data out/records --like clip.mp4 -k 5"""
USUAL_K = 10


def add(commands) -> None:
    """Declares the command."""
    command = add_command(commands, "search", _run, SUMMARY, EXAMPLE)
    add = command.add_argument
    add("embeddings", nargs="?", help="folder written by beam_jobs.embed")
    add("--data", help="instead of embeddings: a (small) data set of beam_jobs.preprocess, embedded for this search")
    query = command.add_mutually_exclusive_group(required=True)
    query.add_argument("--like", metavar="FILE", help="media file; its pictures and its sound count")
    query.add_argument("--audio", metavar="FILE", help="media file; only its sound counts")
    query.add_argument("--id", metavar="CLIP_ID", help="one of the clips; it is not among its own neighbours")
    add("--start", type=float, help="begin of the stretch of the file to use, seconds")
    add("--end", type=float, help="end of it, seconds")
    add("-k", type=int, help=f"how many clips (default: {USUAL_K}, or all if there are fewer)")
    add("--model", help="SavedModel, or the folder of its versions (default: the one that made the embeddings)")
    add("--split", help="search only in this split (default: all; with --data: train)")
    add("--other-files", action="store_true", help="leave out the clips of the query's own file")
    add("--approximate", action="store_true", help="use an index (package usearch), made once; for millions of clips")
    add("--html", metavar="FILE", help="also write a page that shows what was found")
    add("--json", action="store_true", help="one JSON object per clip instead of text")


def _run(options: argparse.Namespace) -> None:
    if (options.embeddings is None) == (options.data is None):
        raise PemtError("say where to search: a folder of beam_jobs.embed, or a data set with --data; not both")
    if options.k is not None and options.k < 1:
        raise PemtError(f"-k {options.k} is not above 0")
    if options.html:
        require_writable_file(Path(options.html), "--html")
    task = _InDataSet(options) if options.data else _InEmbeddings(options)
    hits = _search(task, options)
    for hit in hits:
        say(_json(hit) if options.json else _line(hit))
    if options.html:
        _write_gallery(task, hits, options)
        sys.stderr.write(f"gallery: {options.html}\n")


class _InEmbeddings:
    """A search in the files of `beam_jobs.embed`."""

    def __init__(self, options: argparse.Namespace):
        from pemt_tf.search.embedding_store import EmbeddingStore

        self.clips: EmbeddingStore = EmbeddingStore(options.embeddings)
        self.geometry, self.root, self.name = (
            self.clips.card.geometry,
            original(self.clips.card.root),
            options.embeddings,
        )
        self.query: Query | None = None
        self.row: int | None = None
        if options.id is not None:
            self.row = _row(self.clips, options.id, self.name)
            self.embedding: np.ndarray = self.clips.vector(self.row)
            require_finite(self.embedding[None], [options.id], "the embedding")
        else:
            self.query = _query(self._model(options.model), options)
            self.embedding = self.query.embedding

    def _model(self, given: str | None):
        from pemt_tf.export.local_predictor import latest_version
        from pemt_tf.search.embedding_card import model_hash
        from pemt_tf.search.query import QueryModel

        try:
            directory = latest_version(Path(given or self.clips.card.model))
        except PemtError as error:
            raise PemtError(str(error) if given else f"{error}; or say with --model where it is now") from None
        self.clips.card.require_model(directory, model_hash(directory))
        return QueryModel(directory)

    def record_files(self, rows: list[int]) -> list[Path]:
        from pemt_tf.search.embedding_card import RECORDS

        if self.clips.card.source_kind != RECORDS:
            return []
        return [Path(self.clips.card.source, file) for file in self.clips.record_files(rows)]


class _InDataSet:
    """A search in records that are embedded for it."""

    def __init__(self, options: argparse.Namespace):
        from pemt_tf.data.clip_source import ClipSource
        from pemt_tf.search.exact_search import embed_split
        from pemt_tf.search.query import QueryModel

        if options.model is None:
            raise PemtError("--data needs --model, a SavedModel of `pemt export`")
        if options.approximate:
            raise PemtError("--approximate needs embeddings that stay; make them with beam_jobs.embed")
        model, source = QueryModel(options.model), ClipSource.open(options.data)
        split = options.split or "train"
        self.query = None if options.id is not None else _query(model, options)
        self.clips = embed_split(model, source, split)
        self.geometry, self.root, self.name = source.geometry, "", options.data
        self.row = None if options.id is None else _row(self.clips, options.id, f"split {split!r} of {self.name}")
        self.embedding = self.query.embedding if self.query is not None else self.clips.vector(self.row)
        self._files = [Path(file) for file in source.require_split(split)]

    def record_files(self, rows: list[int]) -> list[Path]:
        return self._files


def _query(model, options: argparse.Namespace) -> Query:
    embed = model.like if options.like is not None else model.sound_like
    return embed(options.like or options.audio, options.start, options.end)


def _row(clips: Searchable, clip_id: str, name: str) -> int:
    row = clips.find(clip_id)
    if row is None:
        raise PemtError(f"{name} has no clip with the id {clip_id!r}; ids look like {clips.take([0])[0]['id']!r}")
    return row


def _search(task: _InEmbeddings | _InDataSet, options: argparse.Namespace) -> list[Hit]:
    from pemt_tf.search.exact_search import search

    keep = _filter(task, options)
    wanted = options.k or USUAL_K
    if options.approximate:
        from pemt_tf.search.approximate_index import ApproximateIndex

        hits = ApproximateIndex(task.clips).search(task.embedding, wanted, keep)
    else:
        hits = search(task.clips, task.embedding, wanted, keep=keep)
    if not hits:
        raise PemtError(f"{task.name} has no clip that may be found; loosen --split or --other-files")
    if options.k is not None and len(hits) < options.k:
        raise PemtError(f"-k {options.k} is more than there is: only {len(hits)} clips of {task.name} may be found")
    return hits


def _filter(task: _InEmbeddings | _InDataSet, options: argparse.Namespace) -> Filter | None:
    """Which clips may be found; None for all."""
    import numpy as np

    from pemt_tf.search.exact_search import equals

    tests: list[Filter] = []
    if options.split is not None and not options.data:
        tests.append(lambda about: equals(about, "split", options.split))
    if options.id is not None:
        tests.append(lambda about: ~equals(about, "id", options.id))
    if options.other_files and task.row is not None:
        own = task.clips.take([task.row])[0]["path"]
        tests.append(lambda about: ~equals(about, "path", own))
    elif options.other_files:
        file = Path(task.query.path).resolve()
        tests.append(lambda about: ~np.array([_is_same(file, task.root, path.as_py()) for path in about["path"]], bool))
    if not tests:
        return None
    return lambda about: np.logical_and.reduce([test(about) for test in tests])


def _is_same(file: Path, root: str, path: str) -> bool:
    """Whether a clip's path means a file: by the folder that paths are relative to, or else by its last parts."""
    path = original(path)
    if path.rpartition("/")[2] != file.name:
        return False
    place = Path(root, path)
    if root and place.is_file():
        return place.samefile(file)
    return file.as_posix().endswith("/" + path.removeprefix("./").lstrip("/"))


def _line(hit: Hit) -> str:
    return f"{hit.similarity:.3f}  {hit.label or '-'}  {hit.path}  {hit.start:.2f}-{hit.end:.2f} s  {hit.clip_id}"


def _json(hit: Hit) -> str:
    values = {
        "id": hit.clip_id,
        "path": hit.path,
        "start": hit.start,
        "end": hit.end,
        "label": hit.label or None,
        "split": hit.split or None,
        "similarity": hit.similarity,
    }
    return json_text(values)


def _write_gallery(task: _InEmbeddings | _InDataSet, hits: list[Hit], options: argparse.Namespace) -> None:
    from pemt_tf.report.clip_views import view_of_file, view_of_record, views_of_records
    from pemt_tf.report.gallery import Gallery, GalleryClip, write_gallery
    from pemt_tf.search.exact_search import describe_hits

    shown = list(hits) if task.row is None else [*describe_hits(task.clips, [task.row], [1.0]), *hits]
    recorded = views_of_records(
        task.record_files([hit.row for hit in shown]), task.geometry, [hit.clip_id for hit in shown]
    )

    def gallery_clip(hit: Hit, similarity: float | None) -> GalleryClip:
        view = recorded.get(hit.clip_id)
        if view is None and task.root:
            view = view_of_file(Path(task.root, original(hit.path)), task.geometry, hit.start, hit.end)
        return GalleryClip(hit.clip_id, hit.path, hit.start, hit.end, hit.label, similarity, view)

    if task.query is not None:
        clip = task.query.clip
        view = view_of_record(clip, task.geometry)
        query = GalleryClip(clip.clip_id, task.query.path, clip.start, clip.end, view=view)
    else:
        query = gallery_clip(shown[0], None)
    found = tuple(gallery_clip(hit, hit.similarity) for hit in hits)
    about = f"{len(hits)} of {task.clips.count:,} clips, by cosine similarity of their embeddings."
    write_gallery(Path(options.html), Gallery(query, found, about))
