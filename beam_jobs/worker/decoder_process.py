"""Makes clips in an expendable process: a crash, a hang or a lack of memory there costs one clip, not the job."""

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
from typing import IO, Any

from beam_jobs.worker.outcomes import WrittenClip
from beam_jobs.worker.record_slot import RecordSlot
from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.media.decoded_clip import DecodeSettings, FailedWindow
from pemt_tf.media.media_errors import MediaError

START_UP_SECONDS = 60.0  # added for a new process's first answer: its imports, on a machine that may be busy
DYING_SECONDS = 5.0  # time that a process may take to end after it closed its answers
READ_BYTES = 2**16
TAKEN = b"\n"  # tells the process that its record was read and the slot is free


@dataclass(frozen=True)
class ClipRequest:
    """Which clips to make of a file."""

    path: str  # a local file
    start: float | None = None  # stretch of it, seconds; None for all
    end: float | None = None
    window: float | None = None  # length and distance of windows, seconds; None for one clip
    stride: float | None = None
    clip_id: str = ""  # windows get their seconds added
    name: str = ""  # of the source in the record
    labels: tuple[str, ...] = ()
    label_indices: tuple[int, ...] = ()  # rows in the vocabulary
    extra: tuple[tuple[str, str], ...] = ()  # further columns of the manifest, (column, value)


@dataclass(frozen=True)
class MadeClip:
    """A clip, ready to be written."""

    record: bytes | memoryview  # `ExpendableDecoder.clips` keeps it valid until the next clip is asked for
    about: WrittenClip
    source: dict[str, Any]  # facts about the file: the fields of `SourceInfo`


class ExpendableDecoder:
    """One process that makes clips; it is started when first needed and again after it died."""

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
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: IO[bytes]  # this and the next two belong to the process
        self._answers: IO[bytes]
        self._slot: RecordSlot
        self._buffer = bytearray()

    def __enter__(self) -> ExpendableDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def clip(self, request: ClipRequest) -> MadeClip:
        """Makes one clip; the caller may keep its record. `MediaError`: see `clips`."""
        (made,) = (
            dataclasses.replace(made, record=bytes(made.record))
            for made in self.clips(request)
            if isinstance(made, MadeClip)  # only requests with windows have failed ones
        )
        return made

    def clips(self, request: ClipRequest) -> Iterator[MadeClip | FailedWindow]:
        """Makes all clips of a request; the time limit applies to each of them.

        A `MediaError`, possibly after some clips: the file is unusable, or the process crashed or took too long.
        """
        begin = time.monotonic()
        if self._process is None:
            self._start()
            begin += START_UP_SECONDS
        is_answered = False
        try:
            self._send(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
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
            if not is_answered:  # the caller wants no more: what is left must not be taken for the next answer
                self.close()

    def warm_up(self) -> None:
        """Starts the process, so that its imports are not counted as the first clip's time."""
        with contextlib.suppress(MediaError):
            self.clip(ClipRequest(""))

    def cpu_seconds(self) -> float:
        """CPU time of the present process; 0 where there is none, or the system does not tell."""
        if self._process is None:
            return 0.0
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Ends the process from another thread: whoever waits for a clip is told that it crashed."""
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
                self._requests.close()
            self._answers.close()
            self._slot.close()

    def _start(self) -> None:
        self._slot = RecordSlot.create()
        process = subprocess.Popen(
            [*self._command, self._settings, str(self._slot.descriptor)],
            pass_fds=[self._slot.descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the job, which then closes its decoders
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert process.stdin is not None and process.stdout is not None  # they are pipes
        self._requests, self._answers, self._process = process.stdin, process.stdout, process

    def _send(self, line: bytes) -> None:
        self._requests.write(line)
        self._requests.flush()

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
                self._send(TAKEN)

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        output = self._answers.fileno()
        waiter = select.poll()  # unlike select, it works for descriptors beyond 1023
        waiter.register(output, select.POLLIN)
        if left <= 0 or not waiter.poll(1000 * left):
            raise TimeoutError
        data = os.read(output, READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data

    def _death(self, timed_out: bool) -> MediaError:
        """Ends the process and says why it gave no answer."""
        code = None if timed_out or self._process is None else self._exit_code(self._process)
        self.close()
        if code is None or code == -signal.SIGALRM:
            return MediaError("timeout", f"decoding took more than {self._timeout:g} s")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return MediaError("decoder_crash", f"the decoding process ended {how}")

    @staticmethod
    def _exit_code(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its answers, but lives
            process.kill()
            return process.wait()


def _made(header: dict[str, Any], record: memoryview) -> MadeClip | FailedWindow:
    if "window" in header:
        return FailedWindow(**header["window"])
    about = header["clip"]
    return MadeClip(record, WrittenClip(**{**about, "notes": tuple(about["notes"])}), header["source"])
