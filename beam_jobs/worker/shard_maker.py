"""The worker's part: decodes the inputs of one shard and writes them as records."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from beam_jobs.engines import storage
from beam_jobs.inputs.clip_windows import ClipPlan
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.plan.sharding import Shard, read_plan
from beam_jobs.worker.decoder_process import ClipRequest, ExpendableDecoder
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, LeftOut, Outcome, WrittenClip
from beam_jobs.worker.shard_writer import ShardWriter
from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.errors import PemtError
from pemt_tf.media.decoded_clip import DecodeSettings, FailedWindow
from pemt_tf.media.media_errors import MediaError

Write = Callable[[bytes | memoryview], None]

STOP_NAME = "stop"  # in a local working folder: too many inputs have failed, the rest need not be tried


@dataclass(frozen=True)
class ShardSettings:
    """What a worker needs to know.

    Attributes:
        folder: where the data set is being made.
        geometry: of the clips.
        vocabulary: label names; a label's index is its place.
        plan: which clips are made of an input.
        payload: form of the records, a name in `record_format.PAYLOADS`.
        store_waveform: keep the sound itself beside its spectrogram.
        on_missing: per stream (`audio`, `video`): `mask`, `skip` or `fail`.
        on_flag: per flag (`silent`, `frozen`): `keep` or `skip`.
        decoding: streams and picture quality.
        decode_timeout: seconds a clip.
        decode_memory_mb: MiB of the decoding process.
    """

    folder: str
    geometry: ClipGeometry
    vocabulary: tuple[str, ...]
    plan: ClipPlan = field(default_factory=ClipPlan)
    payload: str = EXAMPLE
    store_waveform: bool = False
    on_missing: dict[str, str] = field(default_factory=lambda: {"audio": "mask", "video": "mask"})
    on_flag: dict[str, str] = field(default_factory=lambda: {"silent": "keep", "frozen": "keep"})
    decoding: DecodeSettings = field(default_factory=DecodeSettings)
    decode_timeout: float = 120.0
    decode_memory_mb: int = 4096


class ShardMaker:
    """Makes shards, one after the other, with one decoding process. Use it as a context manager, or call `close`."""

    def __init__(self, settings: ShardSettings) -> None:
        """Starts no process yet."""
        self._settings = settings
        self._decoder = decoder_of(settings)

    def __enter__(self) -> ShardMaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the decoding process."""
        self._decoder.close()

    def interrupt(self) -> None:
        """Ends the decoding process from another thread, so that `make` waits for it no longer."""
        self._decoder.kill()

    def make(self, shard: Shard, go_on: Callable[[], None] = lambda: None) -> Iterator[Outcome]:
        """Writes the record file and the outcomes of a shard's inputs.

        Args:
            shard: to be made; it is finished when the iterator is at its end.
            go_on: called before each file and before each outcome is noted; may raise what is to stop the work.

        Raises:
            PemtError: the disk is full, or too many inputs have failed.
        """
        settings = self._settings
        maker = ClipMaker(settings, self._decoder)
        try:
            with ShardWriter(settings.folder, shard) as writer:
                clips = read_plan(settings.folder, shard)
                for path, parts in itertools.groupby(clips, key=lambda clip: clip.path):
                    self._refuse_to_go_on()
                    go_on()
                    for outcome in maker.outcomes(path, parts, writer.write):
                        go_on()  # what an interruption cut off has no outcome
                        writer.note(outcome)
                        yield outcome
                writer.finish()
        except OSError as error:
            raise PemtError(
                f"cannot write {shard.name} in {settings.folder}: {error.strerror or error}; make room there or choose "
                "another --output"
            ) from error

    def _refuse_to_go_on(self) -> None:
        folder = self._settings.folder
        if not storage.is_remote(folder) and storage.exists(storage.join(folder, STOP_NAME)):
            raise PemtError("stopped because too many inputs have failed")


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

    def outcomes(self, path: str, inputs: Iterator[InputClip], write: Write) -> Iterator[Outcome]:
        """Makes the clips of inputs that are parts of one file.

        Args:
            path: of the file.
            inputs: parts of it.
            write: called with each serialized record, which is good during the call only.
        """
        with contextlib.ExitStack() as stack:
            problem = local = None
            try:
                local = stack.enter_context(storage.local_copy(path))
            except OSError as error:
                problem = MediaError("not_found", f"cannot read {path}: {error}")
            for one in inputs:
                yield self._failed(one, problem) if local is None else self._convert(one, local, write)

    def _failed(self, one: InputClip, error: MediaError) -> Outcome:
        return Outcome(FAILED, one, "decode", error.cause, error.detail)

    def _convert(self, one: InputClip, path: str, write: Write) -> Outcome:
        clips: list[WrittenClip] = []
        left_out: list[LeftOut] = []
        source: dict = {}
        try:
            for part in self._decoder.clips(self._request(one, path)):
                if isinstance(part, FailedWindow):
                    left_out.append(LeftOut(part.start, part.end, FAILED, part.cause, part.detail))
                    continue
                source = part.source
                refusal = self._refusal(part.about)
                if refusal is not None:
                    left_out.append(refusal)
                    continue
                write(part.record)
                clips.append(part.about)
        except MediaError as error:
            if not clips:
                return self._failed(one, error)
            # Of a file that was cut into windows: what came before the crash is good.
            left_out.append(LeftOut(clips[-1].end, one.end or clips[-1].end, FAILED, error.cause, error.detail))
        if clips:
            return Outcome(WRITTEN, one, "decode", clips=tuple(clips), left_out=tuple(left_out), source=source)
        first = left_out[0]
        return Outcome(first.kind, one, "decode", first.cause, first.detail, left_out=tuple(left_out), source=source)

    def _request(self, one: InputClip, path: str) -> ClipRequest:
        plan = self._settings.plan
        return ClipRequest(
            path=path,
            start=one.start,
            end=one.end,
            window=plan.window,
            stride=plan.stride,
            clip_id=one.clip_id,
            name=one.name,
            labels=one.labels,
            label_indices=tuple(self._index_of[label] for label in one.labels),
            extra=one.extra,
        )

    def _refusal(self, clip: WrittenClip) -> LeftOut | None:
        """Why a clip that could be made is not to be written."""
        for stream, is_there in (("audio", clip.has_audio), ("video", clip.has_video)):
            policy = self._settings.on_missing[stream]
            if not is_there and policy != "mask":
                detail = "; ".join([f"--on_missing_{stream}={policy}", *clip.notes])
                return LeftOut(clip.start, clip.end, FILTERED if policy == "skip" else FAILED, f"no_{stream}", detail)
        for flag in ("silent", "frozen"):
            if getattr(clip, flag) and self._settings.on_flag[flag] == "skip":
                return LeftOut(clip.start, clip.end, FILTERED, flag, f"--on_{flag}=skip")
        return None
