"""The worker's part: decodes the inputs of one shard and writes its records, outcomes and statistics.

Each of these files appears whole or not at all, the statistics last: a shard that has them is finished. A worker that
is killed before that leaves files with `.partial` in their names, which nobody reads.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs import members
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.plan.output_folder import STOP_NAME
from beam_jobs.plan.shards import Shard, ShardSettings, read_plan
from beam_jobs.worker.decoder_process import ClipRequest, ExpendableDecoder
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, InputOutcome, OutcomeCounts, SkippedWindow, WrittenClip
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import record_files
from pemt_tf.formats.record_files import RecordShape
from pemt_tf.media.decoded_clip import FailedWindow
from pemt_tf.media.media_errors import MediaError

WriteRecord = Callable[[bytes | memoryview], None]
MOST_WORKERS = 64  # each has a decoding process; with more, the job's own process limits the speed
ENDING_SECONDS = 0.1
LONGEST_ENDING_SECONDS = 10.0  # a worker may be copying a large file from a bucket, which cannot be interrupted


class ShardMaker:
    """Makes shards, one after the other, with one decoding process, which the caller closes."""

    def __init__(self, settings: ShardSettings) -> None:
        """Starts no process yet."""
        self._settings = settings
        self.decoder = decoder_of(settings)

    def make(self, shard: Shard, go_on: Callable[[], None] = lambda: None) -> Iterator[InputOutcome]:
        """Writes a shard, which is finished when the iterator is at its end; `go_on` may raise an error to stop."""
        folder = self._settings.folder
        maker = ClipMaker(self._settings, self.decoder)
        try:
            with ShardWriter(folder, shard, self._settings.shape) as writer:
                for path, parts in itertools.groupby(read_plan(folder, shard), key=lambda clip: clip.path):
                    if not storage.is_remote(folder) and storage.exists(storage.join(folder, STOP_NAME)):
                        raise PemtError("stopped because too many inputs have failed")
                    go_on()
                    for outcome in maker.outcomes(path, parts, writer.write):
                        go_on()  # an input that an interruption cut off has no outcome
                        writer.note(outcome)
                        yield outcome
                writer.finish()
        except OSError as error:
            raise PemtError(
                f"cannot write {shard.name} in {folder}: {error.strerror or error}; make room there or choose "
                "another --output"
            ) from error


def decoder_of(settings: ShardSettings) -> ExpendableDecoder:
    """The decoder that the settings describe; its process is not started yet."""
    return ExpendableDecoder(
        settings.geometry,
        settings.decode_timeout,
        settings.decode_memory_mb,
        settings.decoding,
        settings.payload,
        settings.store_waveform,
    )


class ClipMaker:
    """Turns inputs into records."""

    def __init__(self, settings: ShardSettings, decoder: ExpendableDecoder) -> None:
        self._settings, self._decoder = settings, decoder
        self._index_of = {label: index for index, label in enumerate(settings.vocabulary)}

    def outcomes(self, path: str, inputs: Iterator[InputClip], write: WriteRecord) -> Iterator[InputOutcome]:
        """Makes the clips of inputs that are parts of one file; `write` may use a record during the call only."""
        with contextlib.ExitStack() as stack:
            try:
                local = stack.enter_context(members.local_file(path))
            except OSError as error:
                for one in inputs:
                    yield InputOutcome(
                        FAILED, one, "decode", "not_found", f"cannot read {members.described(path)}: {error}"
                    )
                return
            for one in inputs:
                yield self._convert(one, local, write)

    def _convert(self, one: InputClip, path: str, write: WriteRecord) -> InputOutcome:
        clips: list[WrittenClip] = []
        skipped: list[SkippedWindow] = []
        source: dict[str, Any] = {}
        try:
            for part in self._decoder.clips(self._request(one, path)):
                if isinstance(part, FailedWindow):
                    skipped.append(SkippedWindow(part.start, part.end, FAILED, part.cause, part.detail))
                    continue
                source = part.source
                refusal = self._refusal(part.about)
                if refusal is not None:
                    skipped.append(refusal)
                    continue
                write(part.record)
                clips.append(part.about)
        except MediaError as error:
            if not clips:
                return InputOutcome(FAILED, one, "decode", error.cause, error.detail)
            # The windows before the crash are good.
            skipped.append(SkippedWindow(clips[-1].end, one.end or clips[-1].end, FAILED, error.cause, error.detail))
        if clips:
            return InputOutcome(WRITTEN, one, "decode", clips=tuple(clips), left_out=tuple(skipped), source=source)
        first = skipped[0]
        return InputOutcome(
            first.kind, one, "decode", first.cause, first.detail, left_out=tuple(skipped), source=source
        )

    def _request(self, one: InputClip, path: str) -> ClipRequest:
        return ClipRequest(
            path=path,
            start=one.start,
            end=one.end,
            window=self._settings.plan.window,
            stride=self._settings.plan.stride,
            clip_id=one.clip_id,
            name=one.name,
            labels=one.labels,
            label_indices=tuple(self._index_of[label] for label in one.labels),
            extra=one.extra,
        )

    def _refusal(self, clip: WrittenClip) -> SkippedWindow | None:
        """The reason why a clip that could be made is not to be written."""
        for modality, is_there in (("audio", clip.has_audio), ("video", clip.has_video)):
            policy = self._settings.on_missing[modality]
            if not is_there and policy != "mask":
                detail = "; ".join([f"--on_missing_{modality}={policy}", *clip.notes])
                kind = FILTERED if policy == "skip" else FAILED
                return SkippedWindow(clip.start, clip.end, kind, f"no_{modality}", detail)
        for flag in ("silent", "frozen"):
            if getattr(clip, flag) and self._settings.on_flag[flag] == "skip":
                return SkippedWindow(clip.start, clip.end, FILTERED, flag, f"--on_{flag}=skip")
        return None


class ShardWriter:
    """Takes the records and outcomes of one shard. Use it as a context manager and call `finish` at the end."""

    def __init__(self, folder: str, shard: Shard, shape: RecordShape) -> None:
        self._folder, self._shard, self._shape = folder, shard, shape
        self._counts = OutcomeCounts()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ShardWriter:
        work = self._folder
        if storage.is_remote(work):
            work = self._stack.enter_context(tempfile.TemporaryDirectory())
        # Two workers may be writing the same shard: runners repeat what is slow.
        ending = storage.partial_ending()
        self._record_path = Path(work, self._shard.name + ending)
        self._outcome_path = Path(work, self._shard.outcome_name + ending)
        for path in (self._record_path, self._outcome_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._records = record_files(self._shard.format).sink(self._record_path, self._shard.name, self._shape)
        self._stack.callback(self._records.close)
        self._log = self._stack.enter_context(self._outcome_path.open("wb", buffering=0))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for path in (self._record_path, self._outcome_path):
            path.unlink(missing_ok=True)

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        self._records.write(record)

    def note(self, outcome: InputOutcome) -> None:
        """Notes the outcome of an input; at once, because the progress line counts them."""
        self._log.write(outcome.line())
        self._counts.add(outcome)

    def finish(self) -> None:
        """Puts the files in their places."""
        self._records.close()
        self._log.close()
        folder, shard = self._folder, self._shard
        size, sha256 = 0, ""
        if self._counts.clips:
            size, sha256 = self._records.digest()
            storage.put_in_place(str(self._record_path), storage.join(folder, shard.name))
        storage.put_in_place(str(self._outcome_path), storage.join(folder, shard.outcome_name))
        write_statistics(folder, shard, self._counts, size, sha256)


def write_statistics(folder: str, shard: Shard, counts: OutcomeCounts, size: int, sha256: str) -> None:
    """Writes a shard's statistics file as a whole, on any file system."""
    file = {"file": shard.name if counts.clips else None, "clips": counts.clips, "bytes": size, "sha256": sha256}
    with storage.whole_file(storage.join(folder, shard.stats_name)) as local:
        local.write_text(json.dumps({**file, **counts.statistics()}, indent=1) + "\n", encoding="utf-8")


def read_statistics(folder: str, shard: Shard) -> dict[str, Any]:
    """Reads what `write_statistics` wrote."""
    with storage.open_read(storage.join(folder, shard.stats_name)) as file:
        return json.loads(file.read())


class _StoppedError(Exception):
    """Another worker failed, or the user stopped the job."""


class LocalEngine:
    """Makes shards on this machine, in threads that each have a decoding process."""

    def __init__(self, workers: int) -> None:
        if workers > MOST_WORKERS:
            raise PemtError(f"{workers} local workers; give 1 to {MOST_WORKERS}")
        self._workers = workers

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards, the largest first, so that the workers finish at about the same time."""
        todo = iter(sorted(shards, key=lambda shard: -shard.clips))
        stopped = threading.Event()
        ended: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        workers = [_Worker(todo, settings, stopped, ended) for _ in range(min(self._workers, len(shards)))]
        try:
            for worker in workers:
                worker.start()
            for _ in workers:
                ended.get()
                if stopped.is_set():
                    break
        finally:
            stopped.set()
            for worker in workers:
                worker.end()
        for error in (worker.error for worker in workers):
            if isinstance(error, Exception) and not isinstance(error, PemtError):
                raise PemtError(f"the job failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
            if error is not None:
                raise error


class _Worker(threading.Thread):
    """Takes one shard after the other until none is left, one fails, or the job is stopped."""

    def __init__(
        self, todo: Iterator[Shard], settings: ShardSettings, stopped: threading.Event, ended: queue.SimpleQueue
    ) -> None:
        super().__init__(daemon=True)
        self._todo, self._stopped, self._ended = todo, stopped, ended
        self._maker = ShardMaker(settings)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with contextlib.closing(self._maker.decoder):
                for shard in self._todo:
                    self._go_on()
                    for _ in self._maker.make(shard, self._go_on):
                        pass
        except _StoppedError:
            pass
        except BaseException as error:
            self.error = error
            self._stopped.set()
        finally:
            self._ended.put(self)

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    def end(self) -> None:
        """Waits for the thread; whatever it is decoding is cut off, because the job is stopped."""
        deadline = time.monotonic() + LONGEST_ENDING_SECONDS
        while self.is_alive() and time.monotonic() < deadline:
            self._maker.decoder.kill()
            self.join(ENDING_SECONDS)
