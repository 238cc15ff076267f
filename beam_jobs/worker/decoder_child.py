"""The expendable process that makes clips: reads requests on standard input, answers on standard output.

The answer for a clip is a line of JSON; its record stays in the slot (`RecordSlot`) until the job
says, with an empty line, that it has taken it.

The process imports PyAV, NumPy and SciPy, but neither TensorFlow nor Beam. It does everything that takes time
(decoding, JPEGs, spectrograms, serializing the record), so that the job's own process only passes records on. It
returns JSON and the record's bytes, never pickled objects: a decoder that a hostile file has taken over must not be
able to run code in the job.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from beam_jobs.worker.record_slot import RecordSlot
from pemt_tf.config import ClipGeometry
from pemt_tf.data import record_format
from pemt_tf.data.clip_builder import build_clip, clip_id
from pemt_tf.media.clip_decoder import (
    DecodedClip,
    DecodeSettings,
    FailedWindow,
    MediaError,
    decode_clip,
    decode_windows,
)
from pemt_tf.media.decoded_clip import is_frozen, is_silent, sound_hash

Answer = tuple[dict[str, Any], list[bytes]]  # facts about a clip, and the parts of its record


class RequestDecoder:
    """Turns a request into records."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._geometry = ClipGeometry(**settings["geometry"])
        self._decoding = DecodeSettings(**settings["decoding"])
        self._payload, self._store_waveform = settings["payload"], settings["store_waveform"]

    def answers(self, request: dict[str, Any]) -> Iterator[Answer]:
        """Yields one answer for each clip; a `MediaError` means that no further clip can be made."""
        for clip in self._clips(request):
            if isinstance(clip, FailedWindow):
                yield {"window": dataclasses.asdict(clip)}, []
            else:
                yield self._record(request, clip)

    def _clips(self, request: dict[str, Any]) -> Iterator[DecodedClip | FailedWindow]:
        path, start, end = request["path"], request["start"], request["end"]
        geometry, settings = self._geometry, self._decoding
        if request["window"] is None:
            yield decode_clip(path, geometry, start, end, settings=settings)
        else:
            window, stride = request["window"], request["stride"]
            yield from decode_windows(path, geometry, window, stride, start, end, settings=settings)

    def _record(self, request: dict[str, Any], clip: DecodedClip) -> Answer:
        name = request["clip_id"]
        if request["window"] is not None:
            name = clip_id(name, clip.start, clip.end)
        labels, indices = tuple(request["labels"]), tuple(request["label_indices"])
        extra = tuple((column, value) for column, value in request["extra"])
        built = build_clip(
            clip, self._geometry, name, request["name"], labels, indices, extra, self._store_waveform
        )  # fmt: skip
        record = record_format.serialized_parts(built, self._geometry, self._payload)
        seen = clip.content
        about = {
            "clip_id": name,
            "start": clip.start,
            "end": clip.end,
            "bytes": sum(map(len, record)),
            "has_video": clip.jpegs is not None,
            "has_audio": clip.waveform is not None,
            "silent": bool(is_silent(seen)),
            "frozen": bool(is_frozen(seen)),
            **{name: getattr(seen, name) for name in ("loudness_db", "peak_db", "motion", "brightness")},
            "picture_hash": (seen.picture_hash or b"").hex(),
            "sound_hash": "" if built.log_mel is None else sound_hash(built.log_mel).hex(),
            "notes": clip.notes,
        }
        return {"clip": about, "source": dataclasses.asdict(clip.source)}, record


class JobConnection:
    """The connection to the job, which sends requests and gets answers."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO, slot: RecordSlot) -> None:
        self._requests, self._answers, self._slot = requests, answers, slot
        self._is_taken = True

    def next_request(self) -> dict[str, Any] | None:
        """Waits for a request; None when the job has no more."""
        self._wait_until_taken()
        line = self._requests.readline()
        return json.loads(line) if line else None

    def answer(self, header: dict[str, Any], record: Sequence[bytes] = ()) -> None:
        """Sends one answer, and the parts of a record as soon as the job has taken the previous record."""
        size = 0
        if record:
            self._wait_until_taken()
            size = self._slot.put(record)
            self._is_taken = False
        self._answers.write(json.dumps({**header, "size": size}).encode() + b"\n")
        self._answers.flush()

    def _wait_until_taken(self) -> None:
        if not self._is_taken:
            signal.alarm(0)  # the waiting time is the job's; if it dies, the pipe ends
            self._is_taken = bool(self._requests.readline())
            if not self._is_taken:
                sys.exit()


def serve(job: JobConnection, decoder: RequestDecoder, timeout: float) -> None:
    """Answers requests until the job closes the pipe: one answer for each clip, and one that ends the request."""
    while (request := job.next_request()) is not None:
        # If the job dies while FFmpeg hangs, the alarm ends this process: its default action needs no Python.
        signal.alarm(int(timeout) + 10)
        try:
            for header, record in decoder.answers(request):
                job.answer(header, record)
                signal.alarm(int(timeout) + 10)
            job.answer({"done": True})
        except MediaError as error:
            job.answer({"cause": error.cause, "detail": error.detail})
        except MemoryError:
            job.answer({"cause": "too_large", "detail": "decoding took more memory than is allowed"})
        except Exception as error:
            job.answer({"cause": "decoder_crash", "detail": f"{type(error).__name__}: {error}"})
        signal.alarm(0)


def main() -> None:
    """Serves the job. Arguments: the settings as one JSON object, and the slot's descriptor."""
    settings, slot = json.loads(sys.argv[1]), RecordSlot(int(sys.argv[2]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    limit = settings["memory_mb"] * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(JobConnection(sys.stdin.buffer, answers, slot), RequestDecoder(settings), settings["timeout"])


if __name__ == "__main__":
    main()
