"""From a media file to the pictures and the sound of its clips, ready to become records.

Used by the data preparation job (in an expendable process: decoders crash and hang on broken files) and by clients
that send a video file to a model. It needs PyAV, NumPy and simplejpeg, never TensorFlow.

A stream that is missing is None. Sound that is missing for a part of the clip is zeros there, and a note says so.
Pictures are the main stream: where they are there but cannot be decoded the clip is its sound, if that is good, and
fails if not; undecodable sound leaves a clip without sound. A note says so.
docs/decoding.md tells how the oddities of files are treated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.media.clip_range import ENOUGH, find_stretch, known_times, refuse_hole, usable_streams
from pemt_tf.media.content import levels
from pemt_tf.media.decoded_clip import ClipContent, DecodedClip, DecodeSettings, FailedWindow, SourceInfo
from pemt_tf.media.frames import ClipPictures, PictureReader
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.segment_sampling import ClipPlan, plan_clip, window_starts
from pemt_tf.media.waveform import ClipSound, SoundReader, bad_samples

__all__ = [
    "ClipContent",
    "DecodeSettings",
    "DecodedClip",
    "FailedWindow",
    "MediaError",
    "SourceInfo",
    "decode_clip",
    "decode_windows",
]

DEFAULTS = DecodeSettings()
DOUBTFUL_PEAK = 10.0  # times full scale; loud music that was compressed with loss stays below
GOOD_SOUND = 0.9  # share of a clip that has sound; then the sound is a clip though the pictures are damaged
MOST_WINDOWS = 50_000  # of one file, since each is planned ahead; broken timestamps can claim centuries


def decode_clip(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    start: float | None = None,
    end: float | None = None,
    settings: DecodeSettings = DEFAULTS,
) -> DecodedClip:
    """Decodes a clip: `geometry.segments` segments spread evenly from `start` to `end`.

    Args:
        source: a local path, or a seekable binary file.
        geometry: what to sample.
        start, end: seconds from the container's start; by default the whole length of the pictures, or of the sound
            where there are none.
        settings: which streams, and the quality of the JPEGs.

    Raises:
        MediaError: no clip can be made of it; says why.
    """
    with MediaFile(source, settings.video_stream, settings.audio_stream) as media:
        media.index(start, end)
        usable = usable_streams(media, geometry.segment_seconds - _slack(geometry))
        unit = f"one segment is {geometry.segment_seconds:.3f} s"
        stretch = find_stretch(media, start, end, usable[0], geometry.segment_seconds - _slack(geometry), unit)
        made = next(_clips(media, [plan_clip(*stretch, geometry)], usable, geometry, settings))
    if isinstance(made, MediaError):
        raise made
    return made


def decode_windows(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    seconds: float,
    stride: float,
    start: float | None = None,
    end: float | None = None,
    settings: DecodeSettings = DEFAULTS,
) -> Iterator[DecodedClip | FailedWindow]:
    """Decodes many clips of one file: windows of `seconds` that begin every `stride` seconds.

    Each is what `decode_clip` gives for its stretch, but the file is decoded once, from its start to its end, and
    only the windows under way are in memory. A rest shorter than a window is dropped.

    Args:
        source: a local path, or a seekable binary file.
        geometry: what to sample from each window.
        seconds: length of a window; at least one segment.
        stride: seconds from the start of a window to the start of the next.
        start, end: of the stretch with the windows, seconds from the container's start; by default as `decode_clip`.
        settings: which streams, and the quality of the JPEGs.

    Yields:
        The windows in order of time; a `FailedWindow` where one cannot be made.

    Raises:
        ValueError: a window holds no segment, or `stride` is not positive.
        MediaError: when the first window is asked for: nothing can be made of the file, or it is shorter than a window.
    """
    if seconds < geometry.segment_seconds:
        raise ValueError(f"windows of {seconds:g} s hold no segment; one segment is {geometry.segment_seconds:.3f} s")
    if stride <= 0:
        raise ValueError(f"windows every {stride:g} s; it must be more than 0")
    return _windows(source, geometry, seconds, stride, start, end, settings)


def _windows(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    seconds: float,
    stride: float,
    start: float | None,
    end: float | None,
    settings: DecodeSettings,
) -> Iterator[DecodedClip | FailedWindow]:
    with MediaFile(source, settings.video_stream, settings.audio_stream) as media:
        media.index(start, end)
        slack = _slack(geometry)
        usable = usable_streams(media, geometry.segment_seconds - slack)
        begin, finish = find_stretch(media, start, end, usable[0], seconds - slack, f"one window is {seconds:g} s")
        if (finish - begin) / stride > MOST_WINDOWS:
            detail = f"{(finish - begin) / stride:.0f} windows from {begin:.1f} s to {finish:.1f} s"
            raise MediaError("too_large", f"{detail}; at most {MOST_WINDOWS} are made of one file")
        starts = window_starts(begin, finish, seconds, stride, slack)
        plans = [plan_clip(first, min(first + seconds, finish), geometry) for first in starts.tolist()]
        for plan, made in zip(plans, _clips(media, plans, usable, geometry, settings), strict=True):
            if isinstance(made, MediaError):
                yield FailedWindow(plan.start, plan.end, made.cause, made.detail)
            else:
                yield made


def _slack(geometry: ClipGeometry) -> float:
    """Half a frame, seconds: the last frame of a segment need not be shown to its end."""
    return 0.5 / geometry.frame_rate


def _clips(
    media: MediaFile, plans: list[ClipPlan], usable: tuple[bool, bool], geometry: ClipGeometry, settings: DecodeSettings
) -> Iterator[DecodedClip | MediaError]:
    """Decodes clips in one pass over the file; yields each as soon as both of its streams are complete."""
    has_pictures, has_sound = usable
    pictures = sound = None
    readers = {}
    if has_pictures:
        pictures = PictureReader(media, plans, geometry.stored_short_side, settings.jpeg_quality)
        readers[media.video.index] = pictures
    if has_sound:
        sound = SoundReader(media, plans, geometry)
        readers[media.audio.index] = sound
    heard = known_times(media.audio_index)
    known = known_times(media.video_index) if has_pictures else heard
    done = 0
    for complete in _progress(media, readers, len(plans)):
        for clip in range(done, complete):
            try:
                made = _clip(media, plans[clip], clip, pictures, sound)
                refuse_hole(known, heard, plans[clip].start, plans[clip].end)
                yield made
            except MediaError as error:
                yield error
        done = complete


def _progress(media: MediaFile, readers: dict[int, PictureReader | SoundReader], clips: int) -> Iterator[int]:
    """Feeds the readers with the file's packets; yields how many clips are complete whenever that changes."""
    complete = 0
    for packet in media.packets():
        reader = readers.get(packet.stream_index)
        if reader is None:
            continue
        reader.feed(packet)
        if reader.passed > complete and (passed := min(each.passed for each in readers.values())) > complete:
            complete = passed
            yield complete
            if complete == clips:
                return
    for reader in readers.values():
        reader.finish()
    yield clips


def _clip(
    media: MediaFile, plan: ClipPlan, clip: int, pictures: PictureReader | None, sound: SoundReader | None
) -> DecodedClip:
    notes = []
    heard = sound.take(clip) if sound is not None else None
    seen = pictures.take(clip) if pictures is not None else None
    waveform = _checked_waveform(heard, sound, notes, alone=seen is None)
    measured = {}
    if seen is not None:
        try:
            _check_pictures(seen, pictures, notes)
            measured = seen.meter.results()
        except MediaError as error:
            if waveform is None or heard.damaged_packets or heard.coverage < GOOD_SOUND:
                raise
            notes.append(f"the pictures are left out, the clip is the sound alone: {error.detail}")
            seen = None
    if waveform is not None:
        measured["loudness_db"], measured["peak_db"] = levels(waveform)
    return DecodedClip(
        start=plan.start,
        end=plan.end,
        jpegs=seen.jpegs if seen is not None else None,
        image_times=seen.times.tolist() if seen is not None else [],
        height=seen.height if seen is not None else 0,
        width=seen.width if seen is not None else 0,
        waveform=waveform,
        notes=(*media.notes, *notes),
        content=ClipContent(**measured),
        source=_source_info(media, pictures, sound),
    )


def _source_info(media: MediaFile, pictures: PictureReader | None, sound: SoundReader | None) -> SourceInfo:
    about = {"duration": float(media.duration)}
    if pictures is not None:
        about["frame_rate"] = media.frame_rate
        about["height"], about["width"] = pictures.upright_height, pictures.upright_width
        about["video_codec"] = media.video.codec_context.name
    if sound is not None:
        context = media.audio.codec_context
        about["audio_codec"], about["sample_rate"], about["channels"] = context.name, context.rate, context.channels
    return SourceInfo(**about)


def _check_pictures(seen: ClipPictures, reader: PictureReader, notes: list[str]) -> None:
    if None in seen.jpegs:
        why = f": {reader.last_error}" if reader.last_error else ""
        raise MediaError("zero_frames", f"none of {seen.fed} packets gave a picture{why}")
    good = seen.decoded - seen.damaged_pictures
    if good < ENOUGH * (seen.fed - 1):
        raise MediaError("decode_failed", f"{good} good pictures of {seen.fed} packets; {reader.last_error}")
    if seen.damaged_packets:
        notes.append(f"{seen.damaged_packets} of {seen.fed} picture packets are damaged and were skipped")
    if seen.damaged_pictures:
        notes.append(f"{seen.damaged_pictures} of {seen.decoded} pictures are damaged")


def _checked_waveform(
    heard: ClipSound | None, reader: SoundReader | None, notes: list[str], alone: bool
) -> np.ndarray | None:
    if heard is None:
        return None
    if heard.coverage == 0.0:
        why = f" ({reader.last_error})" if reader.last_error else ""
        if alone:
            raise MediaError("zero_frames", f"none of {heard.fed} sound packets could be decoded{why}")
        notes.append(f"no sound during the clip{why}")
        return None
    problem = bad_samples(heard.waveform) or (heard.problem if reader.stores_samples else None)
    if problem and (alone or reader.stores_samples):
        raise MediaError("bad_samples", problem)
    if problem:
        notes.append(f"the sound is damaged and was left out: {problem}")
        return None
    peak = float(np.abs(heard.waveform).max())
    if peak > DOUBTFUL_PEAK:
        notes.append(f"the sound peaks at {peak:.3g} times full scale")
    if heard.damaged_packets:
        notes.append(f"{heard.damaged_packets} of {heard.fed} sound packets are damaged and were skipped")
    if heard.coverage < 0.98:
        notes.append(f"audio covers {100 * heard.coverage:.0f} % of the clip")
    return heard.waveform
