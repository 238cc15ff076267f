"""From a media file to the pictures and the sound of one clip, ready to become a record.

Used by the data preparation job (in an expendable process: decoders crash and hang on broken files) and by clients
that send a video file to a model. It needs PyAV, NumPy and simplejpeg, never TensorFlow.

A stream that is missing is None. Sound that is missing for a part of the clip is zeros there, and a note says so.
Pictures are the main stream: where they are there but cannot be decoded the file fails, while undecodable sound
leaves a clip without sound and a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.features.media_errors import MediaError
from pemt_tf.features.media_file import MediaFile, StreamIndex
from pemt_tf.features.pictures import PictureReader
from pemt_tf.features.sampling import frame_moments, uniform_segments
from pemt_tf.features.sound import SoundReader

__all__ = ["DecodedClip", "MediaError", "decode_clip"]

JPEG_QUALITY = 95
ENOUGH = 0.5  # of a damaged file must be good
NOTEWORTHY_SECONDS = 0.5
LONGEST_HOLE = 60.0  # seconds without a packet that can be meant; more than half of a file of it cannot


@dataclass(frozen=True)
class DecodedClip:
    """One clip, decoded.

    Attributes:
        start, end: stretch of the file that the clip covers, seconds from the container's start.
        jpegs: segments x frames JPEGs, row-major, all height x width pixels; None where there are no pictures.
        image_times: when the picture of each JPEG is first shown, seconds.
        height, width: pixels; 0 without pictures.
        waveform: [segments, samples_per_segment] float32, mono, full scale 1; None where there is no sound.
        notes: what is odd about the file, one sentence each.
    """

    start: float
    end: float
    jpegs: list[bytes] | None
    image_times: list[float]
    height: int
    width: int
    waveform: np.ndarray | None
    notes: tuple[str, ...] = ()


def decode_clip(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    start: float | None = None,
    end: float | None = None,
    jpeg_quality: int = JPEG_QUALITY,
) -> DecodedClip:
    """Decodes a clip: `geometry.segments` segments spread evenly from `start` to `end`.

    Args:
        source: a local path, or a seekable binary file.
        geometry: what to sample.
        start, end: seconds from the container's start; by default the whole length of the pictures, or of the sound
            where there are none.
        jpeg_quality: 1 to 100.

    Raises:
        MediaError: no clip can be made of it; says why.
    """
    with MediaFile(source) as media:
        media.index(start, end)
        _refuse_encrypted(media)
        has_pictures = _usable(media, "video")
        has_sound = _usable(media, "audio")
        if not has_pictures and not has_sound:
            raise MediaError("zero_frames", "the streams hold no packets")
        begin, finish = _extent(media, start, end, has_pictures, geometry)
        starts = uniform_segments(begin, finish, geometry)
        moments = frame_moments(starts, geometry).ravel()
        order = np.argsort(moments, kind="stable")
        pictures = sound = None
        if has_pictures:
            pictures = PictureReader(media, moments[order], geometry.stored_short_side, jpeg_quality)
        if has_sound:
            sound = SoundReader(media, starts, geometry)
        _decode(media, pictures, sound)
        waveform = _checked_waveform(sound, media.notes, alone=not has_pictures)
        jpegs, times = _checked_pictures(pictures, order, media.notes)
        height, width = (pictures.height, pictures.width) if has_pictures else (0, 0)
        return DecodedClip(begin, finish, jpegs, times, height, width, waveform, tuple(media.notes))


def _decode(media: MediaFile, pictures: PictureReader | None, sound: SoundReader | None) -> None:
    readers = {}
    if pictures is not None:
        readers[media.video.index] = pictures
    if sound is not None:
        readers[media.audio.index] = sound
    for packet in media.packets():
        reader = readers.get(packet.stream_index)
        if reader is not None:
            reader.feed(packet)
    for reader in readers.values():
        reader.finish()


def _refuse_encrypted(media: MediaFile) -> None:
    main = media.video_index if media.video is not None else media.audio_index
    if main.encrypted:
        raise MediaError("encrypted", f"{main.encrypted} of {len(main.times)} packets are encrypted")


def _usable(media: MediaFile, kind: str) -> bool:
    """Whether a stream is there, has packets and a decoder."""
    stream, index = getattr(media, kind), getattr(media, f"{kind}_index")
    other = media.audio if kind == "video" else media.video
    if stream is None:
        return False
    if not len(index.times):
        if kind == "video" and _declared(media) > 0 and len(media.audio_index.times) == 0:
            raise MediaError("truncated", f"the header declares {_declared(media):.1f} s, but there is no data")
        if kind == "video":
            raise MediaError("zero_frames", "the picture stream holds no packets")
        media.notes.append("the sound stream holds no packets")
        return False
    if index.encrypted:
        media.notes.append("the sound is encrypted and was left out")
        return False
    if stream.codec_context is None:
        if kind == "video" or other is None:
            raise MediaError("unsupported_codec", f"FFmpeg has no decoder for the {kind} stream")
        media.notes.append("the sound is left out: FFmpeg has no decoder for it")
        return False
    return True


def _declared(media: MediaFile) -> float:
    return media.declared_end or 0.0


def _extent(
    media: MediaFile, start: float | None, end: float | None, has_pictures: bool, geometry: ClipGeometry
) -> tuple[float, float]:
    """The stretch that the clip covers: what was asked for, as far as it is in the file."""
    index = media.video_index if has_pictures else media.audio_index
    if np.isnan(index.start):
        index = _without_timestamps(media, index, has_pictures)
    there = max(index.end, media.audio_index.end if not np.isnan(media.audio_index.end) else 0.0)
    declared = _declared(media) if end is None else min(_declared(media), end)
    whole = declared - (start or 0.0)
    if whole > 0 and there - (start or 0.0) < ENOUGH * whole:
        raise MediaError("truncated", f"{max(there, 0.0):.2f} s of {_declared(media):.2f} s declared are there")
    if whole - (there - (start or 0.0)) > max(NOTEWORTHY_SECONDS, 0.05 * whole):
        media.notes.append(f"the file ends at {there:.2f} s; its header declares {_declared(media):.2f} s")
    begin = max(index.start, 0.0, start if start is not None else 0.0)
    finish = index.end if end is None else min(index.end, end)
    _refuse_bad_timestamps(index, is_whole=start is None and end is None)
    # One frame of slack: the last frame of a segment need not be shown to its end.
    if finish - begin < geometry.segment_seconds - 0.5 / geometry.frame_rate:
        raise MediaError(
            "too_short",
            f"the clip is {max(finish - begin, 0.0):.3f} s; one segment is {geometry.segment_seconds:.3f} s",
        )
    if end is not None and end - finish > NOTEWORTHY_SECONDS:
        media.notes.append(f"the clip was to end at {end:.2f} s; the file ends at {finish:.2f} s")
    return begin, finish


def _refuse_bad_timestamps(index: StreamIndex, is_whole: bool) -> None:
    if len(index.times) > 1 and index.end <= index.start:
        raise MediaError("bad_timestamps", f"all {len(index.times)} packets claim the same moment")
    times = np.sort(index.times[~np.isnan(index.times)])
    hole = np.diff(times).max(initial=0.0)
    if is_whole and hole > LONGEST_HOLE and hole > 0.5 * (index.end - index.start):
        begin = times[np.diff(times).argmax()]
        raise MediaError("bad_timestamps", f"the timestamps leap from {begin:.1f} s to {begin + hole:.1f} s")


def _without_timestamps(media: MediaFile, index: StreamIndex, has_pictures: bool) -> StreamIndex:
    """Raw streams have no timestamps: pictures then follow each other at the declared rate, from zero."""
    rate = media.video.average_rate if has_pictures else None
    if not rate:
        raise MediaError("bad_timestamps", "no packet has a timestamp and no frame rate is declared")
    index.start, index.end = 0.0, len(index.times) / float(rate)
    media.notes.append(f"no timestamps: taken as {float(rate):g} pictures a second")
    return index


def _checked_pictures(
    pictures: PictureReader | None, order: np.ndarray, notes: list[str]
) -> tuple[list[bytes] | None, list[float]]:
    if pictures is None:
        return None, []
    if not pictures.decoded or None in pictures.jpegs:
        why = f": {pictures.last_error}" if pictures.last_error else ""
        raise MediaError("zero_frames", f"none of {pictures.fed} packets gave a picture{why}")
    good = pictures.decoded - pictures.damaged_pictures
    if good < ENOUGH * (pictures.fed - 1):
        raise MediaError("decode_failed", f"{good} good pictures of {pictures.fed} packets; {pictures.last_error}")
    if pictures.damaged_packets:
        notes.append(f"{pictures.damaged_packets} of {pictures.fed} picture packets are damaged and were skipped")
    if pictures.damaged_pictures:
        notes.append(f"{pictures.damaged_pictures} of {pictures.decoded} pictures are damaged")
    place = np.argsort(order)
    return [pictures.jpegs[position] for position in place], pictures.times[place].tolist()


def _checked_waveform(sound: SoundReader | None, notes: list[str], alone: bool) -> np.ndarray | None:
    if sound is None:
        return None
    if sound.coverage == 0.0:
        why = f" ({sound.last_error})" if sound.last_error else ""
        if alone:
            raise MediaError("zero_frames", f"none of {sound.fed} sound packets could be decoded{why}")
        notes.append(f"no sound during the clip{why}")
        return None
    if sound.damaged_packets:
        notes.append(f"{sound.damaged_packets} of {sound.fed} sound packets are damaged and were skipped")
    if sound.coverage < 0.98:
        notes.append(f"audio covers {100 * sound.coverage:.0f} % of the clip")
    return sound.waveform
