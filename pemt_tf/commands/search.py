"""`pemt search`: finds the clips most similar to a file, or to one of the clips."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pemt_tf.commands.arguments import Commands, add_command, say
from pemt_tf.errors import PemtError
from pemt_tf.files.names import original
from pemt_tf.files.output_check import require_writable_file
from pemt_tf.files.strict_json import json_text

if TYPE_CHECKING:
    import numpy as np

    from pemt_tf.config import ClipGeometry
    from pemt_tf.search.embedding_store import EmbeddingStore
    from pemt_tf.search.exact_search import Filter, Hit, Searchable
    from pemt_tf.search.query import Query, QueryModel

SUMMARY = "find the clips that are most similar to a video, its audio, or another clip"
EXAMPLE = """pemt search out/embeddings --like clip.mp4 -k 10 --html gallery.html
  pemt search out/embeddings --audio bark.wav
  pemt search out/embeddings --audio bark.wav --aligned
  pemt search out/embeddings --id dog/a.mp4 --other-files
  pemt search --model out/servable --data out/records --like clip.mp4 -k 5"""
USUAL_K = 10


def add(commands: Commands) -> None:
    command = add_command(commands, "search", _run, SUMMARY, EXAMPLE)
    add = command.add_argument
    add("embeddings", nargs="?", help="folder written by beam_jobs.embed")
    add("--data", help="instead of embeddings: a (small) data set of beam_jobs.preprocess, embedded for this search")
    query = command.add_mutually_exclusive_group(required=True)
    query.add_argument("--like", metavar="FILE", help="media file, compared by its frames and its audio")
    query.add_argument("--audio", metavar="FILE", help="media file, compared by its audio only")
    query.add_argument("--frames", metavar="FILE", help="media file, compared by its frames only")
    query.add_argument("--id", metavar="CLIP_ID", help="one of the clips; it is not among the results")
    aligned = "with --audio: find frames that fit this audio; with --frames: audio that fits (needs an aligned space)"
    add("--aligned", action="store_true", help=aligned)
    add("--start", type=float, help="start of the part of the file to use, seconds")
    add("--end", type=float, help="end of that part, seconds")
    add("-k", type=int, help=f"number of clips (default: {USUAL_K}, or all if there are fewer)")
    add("--model", help="SavedModel, or the folder of its versions (default: the one that made the embeddings)")
    add("--split", help="search only in this split (default: all; with --data: train)")
    add("--other-files", action="store_true", help="leave out the clips of the query's own file")
    add("--approximate", action="store_true", help="use an index (package usearch), built once; for millions of clips")
    add("--html", metavar="FILE", help="also write a page that shows the results")
    add("--json", action="store_true", help="one JSON object per clip instead of text")


def _run(options: argparse.Namespace) -> None:
    if (options.embeddings is None) == (options.data is None):
        raise PemtError("give either a folder of beam_jobs.embed, or a data set with --data, but not both")
    if options.k is not None and options.k < 1:
        raise PemtError(f"-k {options.k} is not above 0")
    if options.aligned and options.audio is None and options.frames is None:
        raise PemtError("--aligned compares audio with frames; give --audio FILE or --frames FILE to search with")
    if options.html:
        require_writable_file(Path(options.html), "--html")
    task = (_in_data_set if options.data else _in_embeddings)(options)
    hits = _search(task, options)
    for hit in hits:
        say(_json(hit) if options.json else _line(hit))
    if options.html:
        _write_gallery(task, hits, options)
        sys.stderr.write(f"gallery: {options.html}\n")


@dataclass(frozen=True, eq=False)
class _Task:
    """Where to search, and for what."""

    clips: Searchable
    name: str  # of `clips` in messages
    geometry: ClipGeometry
    embedding: np.ndarray  # the query, [width] float32
    record_files: Callable[[list[int]], list[Path]]  # rows of `clips` to their record files, for the gallery
    query: Query | None  # None where the query is one of the clips
    row: int | None  # the query clip's row; None where the query is a file
    root: str = ""  # folder that the clips' paths are relative to; empty if unknown


def _in_embeddings(options: argparse.Namespace) -> _Task:
    """A search in the files of `beam_jobs.embed`."""
    from pemt_tf.models.finite_outputs import require_finite
    from pemt_tf.search.embedding_card import RECORDS
    from pemt_tf.search.embedding_store import EmbeddingStore

    store = EmbeddingStore(options.embeddings, _columns(options)[1])
    card = store.card

    def record_files(rows: list[int]) -> list[Path]:
        return [Path(card.source, file) for file in store.record_files(rows)] if card.source_kind == RECORDS else []

    if options.id is None:
        query, row = _query(_model_of(store, options.model), options), None
        embedding = query.embedding
    else:
        query, row = None, _row(store, options.id, options.embeddings)
        embedding = store.vector(row)
        require_finite(embedding[None], [options.id], "the embedding")
    return _Task(store, options.embeddings, card.geometry, embedding, record_files, query, row, original(card.root))


def _model_of(store: EmbeddingStore, given: str | None) -> QueryModel:
    from pemt_tf.export.local_predictor import latest_version
    from pemt_tf.search.embedding_card import model_hash
    from pemt_tf.search.query import QueryModel

    try:
        directory = latest_version(Path(given or store.card.model))
    except PemtError as error:
        raise PemtError(str(error) if given else f"{error}; or give its present folder with --model") from None
    store.card.require_model(directory, model_hash(directory))
    return QueryModel(directory)


def _in_data_set(options: argparse.Namespace) -> _Task:
    """A search in records, which are embedded for it."""
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.search.query import QueryModel
    from pemt_tf.search.record_embeddings import embed_split

    if options.model is None:
        raise PemtError("--data needs --model, a SavedModel of `pemt export`")
    if options.approximate:
        raise PemtError("--approximate needs stored embeddings; make them with beam_jobs.embed")
    model, source, split = QueryModel(options.model), ClipSource.open(options.data), options.split or "train"
    if options.aligned:
        model.require_aligned()
    query = None if options.id is not None else _query(model, options)
    clips = embed_split(model, source, split, _columns(options)[1])
    if query is None:
        row = _row(clips, options.id, f"split {split!r} of {options.data}")
        embedding = clips.vector(row)
    else:
        row, embedding = None, query.embedding
    files = [Path(file) for file in source.require_split(split)]
    return _Task(clips, options.data, source.geometry, embedding, lambda rows: files, query, row)


def _query(model: QueryModel, options: argparse.Namespace) -> Query:
    if options.like is not None:
        return model.like(options.like, options.start, options.end)
    embed = model.sound_like if options.audio is not None else model.look_like
    return embed(options.audio or options.frames, options.start, options.end, _columns(options)[0])


def _columns(options: argparse.Namespace) -> tuple[str, str]:
    """The model's output for the query, and the column of the clips' vectors that it is compared with."""
    if not options.aligned:
        return "embedding", "vector"
    if options.audio is not None:
        return "aligned_audio", "aligned_visual"
    return "aligned_visual", "aligned_audio"


def _row(clips: Searchable, clip_id: Any, name: str) -> int:
    row = clips.find(clip_id)
    if row is None:
        raise PemtError(f"{name} has no clip with the id {clip_id!r}; ids look like {clips.take([0])[0]['id']!r}")
    return row


def _search(task: _Task, options: argparse.Namespace) -> list[Hit]:
    from pemt_tf.search.exact_search import search

    keep = _filter(task, options)
    wanted = options.k or USUAL_K
    if options.approximate:
        from pemt_tf.search.approximate_index import ApproximateIndex
        from pemt_tf.search.embedding_store import EmbeddingStore

        store = EmbeddingStore(options.embeddings, _columns(options)[1])
        hits = ApproximateIndex(store).search(task.embedding, wanted, keep)
    else:
        hits = search(task.clips, task.embedding, wanted, keep=keep)
    if not hits:
        raise PemtError(f"{task.name} has no clip left to find; loosen --split or --other-files")
    if options.k is not None and len(hits) < options.k:
        raise PemtError(f"-k {options.k} is too large: only {len(hits)} clips of {task.name} can be found")
    return hits


def _filter(task: _Task, options: argparse.Namespace) -> Filter | None:
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
    elif options.other_files and task.query is not None:
        file = Path(task.query.path).resolve()
        tests.append(lambda about: ~np.array([_is_same(file, task.root, path.as_py()) for path in about["path"]], bool))
    if not tests:
        return None
    return lambda about: np.logical_and.reduce([test(about) for test in tests])


def _is_same(file: Path, root: str, path: str) -> bool:
    """Whether a clip's path is that of a file: by the folder that paths are relative to, or by its last parts."""
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
    place = {"id": hit.clip_id, "path": hit.path, "start": hit.start, "end": hit.end}
    return json_text({**place, "label": hit.label or None, "split": hit.split or None, "similarity": hit.similarity})


def _write_gallery(task: _Task, hits: list[Hit], options: argparse.Namespace) -> None:
    from pemt_tf.report.clip_views import view_of_file, view_of_record, views_of_records
    from pemt_tf.report.gallery import Gallery, GalleryClip, write_gallery
    from pemt_tf.search.exact_search import describe_hits

    shown = list(hits) if task.row is None else [*describe_hits(task.clips, [task.row], [1.0]), *hits]
    files = task.record_files([hit.row for hit in shown])
    recorded = views_of_records(files, task.geometry, [hit.clip_id for hit in shown])

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
    of = "their embeddings"
    if options.aligned:
        of = "their frames to this audio" if options.audio is not None else "their audio to these frames"
    about = f"{len(hits)} of {task.clips.count:,} clips, by cosine similarity of {of}."
    write_gallery(Path(options.html), Gallery(query, found, about))
