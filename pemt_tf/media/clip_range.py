"""Which streams of a file can be decoded, and which stretch of it a clip covers."""

from __future__ import annotations

import av
import numpy as np

from pemt_tf.media.container import message_of
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.packet_index import LONGEST_HOLE, StreamIndex

ENOUGH = 0.5  # of a damaged file must be good
NOTEWORTHY_SECONDS = 0.5
SILENT_HOLE = 10.0  # seconds without a packet of sound that still count as unbroken sound


def usable_streams(media: MediaFile, shortest: float) -> tuple[bool, bool]:
    """Whether there are pictures and whether there is sound that a clip can be made of.

    Args:
        media: with its packets listed.
        shortest: seconds that a clip must have; where the pictures are shorter, the sound alone is a clip.

    Raises:
        MediaError: there is neither, or the pictures are there but cannot be decoded.
    """
    main = media.video_index if media.video is not None else media.audio_index
    if main.encrypted:
        what = (
            f"{main.encrypted} of {len(main.times)} packets are encrypted"
            if len(main.times)
            else "its packets are scrambled"
        )
        raise MediaError("encrypted", what)
    usable = _usable(media, "video"), _usable(media, "audio")
    if not any(usable):
        raise MediaError("zero_frames", "the streams hold no packets")
    if all(usable) and media.is_from_start:
        seen, heard = (index.end - max(index.start, 0.0) for index in (media.video_index, media.audio_index))
        if seen < shortest <= heard and len(media.audio_index.times) > 1:
            media.notes.append(f"the pictures last {seen:.2f} s only: the clip is the sound alone")
            return False, True
    return usable


def _usable(media: MediaFile, kind: str) -> bool:
    """Whether a stream is there, has packets and a decoder."""
    stream, index = getattr(media, kind), getattr(media, f"{kind}_index")
    other = media.audio if kind == "video" else media.video
    if stream is None:
        return False
    if index.encrypted:
        media.notes.append("the sound is encrypted and was left out")
        return False
    if not len(index.times):
        if kind == "video" and _declared(media) > 0 and len(media.audio_index.times) == 0:
            raise MediaError("truncated", f"the header declares {_declared(media):.1f} s, but there is no data")
        if kind == "video" and not len(media.audio_index.times):
            raise MediaError("zero_frames", "the picture stream holds no packets")
        media.notes.append(f"the {'picture' if kind == 'video' else 'sound'} stream holds no packets")
        return False
    if stream.codec_context is None:
        if kind == "video" or other is None:
            raise MediaError("unsupported_codec", f"FFmpeg has no decoder for the {kind} stream")
        media.notes.append("the sound is left out: FFmpeg has no decoder for it")
        return False
    return True


def find_stretch(
    media: MediaFile, start: float | None, end: float | None, has_pictures: bool, shortest: float, unit: str
) -> tuple[float, float]:
    """The stretch that was asked for, as far as it is in the file.

    Args:
        media: with its packets listed.
        start, end: seconds from the container's start; None for the whole length of the pictures, or of the sound
            where there are none.
        has_pictures: whether there are.
        shortest: seconds that the stretch must have.
        unit: what is that long, for the message.

    Raises:
        MediaError: too little of it is there, or its timestamps tell nothing.
    """
    index = media.video_index if has_pictures else media.audio_index
    if np.isnan(index.start):
        _without_timestamps(media, index, has_pictures)
    there = max(index.end, media.audio_index.end if not np.isnan(media.audio_index.end) else 0.0)
    declared = _declared(media) if end is None else min(_declared(media), end)
    whole = declared - (start or 0.0)
    if whole > 0 and there - (start or 0.0) < ENOUGH * whole:
        raise MediaError("truncated", f"{max(there, 0.0):.2f} s of {_declared(media):.2f} s declared are there")
    if whole - (there - (start or 0.0)) > max(NOTEWORTHY_SECONDS, 0.05 * whole):
        media.notes.append(f"the file ends at {there:.2f} s; its header declares {_declared(media):.2f} s")
    begin = max(index.start, 0.0, start if start is not None else 0.0)
    finish = index.end if end is None else min(index.end, end)
    _refuse_bad_timestamps(index, known_times(media.audio_index), to_the_end=end is None)
    if finish - begin < shortest:
        if start is None:
            _refuse_undecodable(media, has_pictures)
        raise MediaError("too_short", f"the clip is {max(finish - begin, 0.0):.3f} s; {unit}")
    if end is not None and end - finish > NOTEWORTHY_SECONDS:
        media.notes.append(f"the clip was to end at {end:.2f} s; the file ends at {finish:.2f} s")
    return begin, finish


def known_times(index: StreamIndex) -> np.ndarray:
    """The packets' times as far as they are known, ascending, seconds."""
    return np.sort(index.times[~np.isnan(index.times)])


def refuse_hole(known: np.ndarray, heard: np.ndarray, begin: float, finish: float) -> None:
    """Fails a stretch that lies between two packets that are farther apart than can be meant.

    Args:
        known: times of the main stream's packets, ascending, seconds.
        heard: times of the sound's packets, ascending, seconds; where there are any, the picture before is held.
        begin, finish: of the stretch, seconds.
    """
    before, after = np.searchsorted(known, [begin, finish])
    hole = before == after and 0 < before < len(known) and known[after] - known[before - 1] > LONGEST_HOLE
    if hole and not _sounds_through(heard, begin, finish):
        raise MediaError("zero_frames", f"nothing is stored from {known[before - 1]:.1f} s to {known[after]:.1f} s")


def _sounds_through(heard: np.ndarray, begin: float, finish: float) -> bool:
    """Whether there is sound all the time, which shows that time passes though the picture stays."""
    inside = heard[(heard > begin) & (heard < finish)]
    return len(inside) > 0 and np.diff(np.concatenate([[begin], inside, [finish]])).max() <= SILENT_HOLE


def _declared(media: MediaFile) -> float:
    return media.declared_end or 0.0


def _refuse_bad_timestamps(index: StreamIndex, heard: np.ndarray, to_the_end: bool) -> None:
    if len(index.times) > 1 and index.end <= index.start:
        raise MediaError("bad_timestamps", f"all {len(index.times)} packets claim the same moment")
    times = known_times(index)
    holes = [at for at in np.flatnonzero(np.diff(times) > LONGEST_HOLE) if not _sounds_through(heard, *times[at:][:2])]
    steps = np.array([times[at + 1] - times[at] for at in holes])
    if to_the_end and steps.sum() > 0.5 * (index.end - index.start):
        begin, hole = times[holes[steps.argmax()]], steps.max()
        raise MediaError("bad_timestamps", f"the timestamps leap from {begin:.1f} s to {begin + hole:.1f} s")


def _refuse_undecodable(media: MediaFile, has_pictures: bool) -> None:
    """Fails what only seems short: noise in a stream that FFmpeg divides into packets itself ends early in its eyes."""
    stream = media.video if has_pictures else media.audio
    stream.codec_context.thread_count = 1
    problem, fed = "", 0
    for packet in media.packets():
        if packet.stream_index != stream.index:
            continue
        fed += 1
        try:
            if stream.codec_context.decode(packet):
                return
        except (av.FFmpegError, ValueError) as error:
            problem = f": {message_of(error)}"
    try:
        if stream.codec_context.decode(None):
            return
    except (EOFError, av.FFmpegError, ValueError):
        pass
    if not fed:
        return
    kind = "gave a picture" if has_pictures else "could be decoded"
    raise MediaError("zero_frames", f"none of {fed} packets {kind}{problem}")


def _without_timestamps(media: MediaFile, index: StreamIndex, has_pictures: bool) -> None:
    """Raw streams have no timestamps: pictures then follow each other at the declared rate, from zero."""
    rate = media.video.average_rate if has_pictures else None
    if not rate:
        raise MediaError("bad_timestamps", "no packet has a timestamp and no frame rate is declared")
    pictures = len(index.times) - np.count_nonzero(media.second_fields)
    index.start, index.end = 0.0, pictures / float(rate)
    media.notes.append(f"no timestamps: taken as {float(rate):g} pictures a second")
