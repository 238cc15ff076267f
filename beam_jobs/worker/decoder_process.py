"""Makes clips in an expendable process: what crashes, hangs or devours memory there costs one clip, not the job."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_jobs.worker.outcomes import WrittenClip
from beam_jobs.worker.record_slot import RecordSlot
from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.media.decoded_clip import DecodeSettings, FailedWindow
from pemt_tf.media.media_errors import MediaError

START_UP_SECONDS = 60.0  # the first answer of a process includes its imports, on a machine that may be busy
DYING_SECONDS = 5.0  # from the end of its answers to its own
READ_BYTES = 2**16
TAKEN = b"\n"  # tells the process that its record was read and the slot is free


@dataclass(frozen=True)
class ClipRequest:
    """What is to be made of a file.

    Attributes:
        path: of a local file.
        start, end: stretch of it, seconds; None for all.
        window, stride: seconds, to cut it into windows; None for one clip.
        clip_id: of the clip; windows get their seconds added.
        name: what the record says of its source.
        labels, label_indices: names, and their rows in the vocabulary.
        extra: what a manifest said besides, (column, value).
    """

    path: str
    start: float | None = None
    end: float | None = None
    window: float | None = None
    stride: float | None = None
    clip_id: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    label_indices: tuple[int, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MadeClip:
    """A clip, ready to be written.

    Attributes:
        record: serialized; of `ExpendableDecoder.clips` it is good until the next clip is asked for.
        about: what is in it.
        source: about the file: the fields of `pemt_tf.media.clip_decoder.SourceInfo`.
    """

    record: bytes | memoryview
    about: WrittenClip
    source: dict[str, Any]


class ExpendableDecoder:
    """One process that makes clips; it is started when first needed and again after it died.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        geometry: ClipGeometry,
        timeout: float,
        memory_mb: int,
        decoding: DecodeSettings | None = None,
        payload: str = EXAMPLE,
        store_waveform: bool = False,
        command: tuple[str, ...] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            geometry: what to sample.
            timeout: seconds that one clip may take.
            memory_mb: address space of the process, MiB.
            decoding: streams and picture quality; by default the usual ones.
            payload: form of the records.
            store_waveform: keep the sound in them.
            command: what to run instead of our own child; tests pass children that misbehave.
        """
        self._timeout = timeout
        settings = {
            "geometry": dataclasses.asdict(geometry),
            "decoding": dataclasses.asdict(decoding or DecodeSettings()),
            "payload": payload,
            "store_waveform": store_waveform,
            "timeout": timeout,
            "memory_mb": memory_mb,
        }
        self._command = command or (sys.executable, "-m", "beam_jobs.worker.decoder_child")
        self._settings = json.dumps(settings)
        self._process: subprocess.Popen | None = None
        self._slot: RecordSlot | None = None
        self._buffer = bytearray()

    def __enter__(self) -> ExpendableDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clip(self, request: ClipRequest) -> MadeClip:
        """Makes one clip; its record is the caller's to keep.

        Raises:
            MediaError: no clip can be made of it, or the process crashed or took too long.
        """
        (made,) = (dataclasses.replace(made, record=bytes(made.record)) for made in self.clips(request))
        return made

    def clips(self, request: ClipRequest) -> Iterator[MadeClip | FailedWindow]:
        """Makes all clips of a request; each has the whole time limit for itself.

        Raises:
            MediaError: the file is unusable, or the process crashed or took too long; maybe after some clips.
        """
        begin = time.monotonic()
        if self._process is None:
            self._start()
            begin += START_UP_SECONDS
        is_answered = False
        try:
            self._process.stdin.write(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
            self._process.stdin.flush()
            while True:
                header, record = self._answer(begin + self._timeout)
                is_answered = "done" in header or "cause" in header
                if "cause" in header:
                    raise MediaError(header["cause"], header["detail"])
                if is_answered:
                    return
                yield _made(header, record)
                self._free_slot(header)
                begin = time.monotonic()
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            is_answered = True
            raise self._death(timed_out=isinstance(error, TimeoutError)) from None
        finally:
            if not is_answered:  # nobody waits for the rest: the next answer must not be mistaken for it
                self.close()

    def warm_up(self) -> None:
        """Starts the process, so that its imports are not counted as the first clip's time."""
        with contextlib.suppress(MediaError):
            self.clip(ClipRequest(""))

    def cpu_seconds(self) -> float:
        """CPU time that the present process has taken; 0 where there is none, or the system does not tell."""
        if self._process is None:
            return 0.0
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Ends the process from another thread: who waits for a clip is told that it crashed."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        self._buffer.clear()
        if process is not None:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            self._slot.close()

    def _start(self) -> None:
        self._slot = RecordSlot.create()
        self._process = subprocess.Popen(
            [*self._command, self._settings, str(self._slot.descriptor)],
            pass_fds=[self._slot.descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the job, which then closes its decoders
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def _answer(self, deadline: float) -> tuple[dict[str, Any], memoryview]:
        while (line_end := self._buffer.find(b"\n")) < 0:
            self._receive(deadline)
        header = json.loads(self._buffer[:line_end])
        del self._buffer[: line_end + 1]
        return header, self._slot.take(header["size"])

    def _free_slot(self, header: dict[str, Any]) -> None:
        """Tells the process that a record was taken, if there was one."""
        if header["size"]:
            with contextlib.suppress(BrokenPipeError):  # it died after that; the clip is good
                self._process.stdin.write(TAKEN)
                self._process.stdin.flush()

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        output = self._process.stdout.fileno()
        waiter = select.poll()  # unlike select, it takes descriptors beyond 1023
        waiter.register(output, select.POLLIN)
        if left <= 0 or not waiter.poll(1000 * left):
            raise TimeoutError
        data = os.read(output, READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data

    def _death(self, timed_out: bool) -> MediaError:
        if timed_out:
            self.close()
            return MediaError("timeout", f"decoding took more than {self._timeout:g} s")
        try:
            code = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:  # it talks nonsense, but lives
            self._process.kill()
            code = self._process.wait()
        self.close()
        if code == -signal.SIGALRM:
            return MediaError("timeout", f"decoding took more than {self._timeout:g} s")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return MediaError("decoder_crash", f"the decoding process ended {how}")


def _made(header: dict[str, Any], record: bytes) -> MadeClip | FailedWindow:
    if "window" in header:
        return FailedWindow(**header["window"])
    about = header["clip"]
    return MadeClip(record, WrittenClip(**{**about, "notes": tuple(about["notes"])}), header["source"])
