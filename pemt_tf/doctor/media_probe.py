"""Lists PyAV's decoders, and writes and reads a tiny clip in memory; runs in its own process."""

from __future__ import annotations

import io

from pemt_tf.doctor.probe import report, report_failures_of

# Common formats, and FFmpeg's names of decoders, of which one is enough.
DECODERS = {
    "H.264": ("h264",),
    "HEVC": ("hevc",),
    "VP8": ("vp8", "libvpx"),
    "VP9": ("vp9", "libvpx-vp9"),
    "AV1": ("libdav1d", "libaom-av1", "av1"),
    "MPEG-4": ("mpeg4",),
    "MPEG-2": ("mpeg2video",),
    "AAC": ("aac",),
    "MP3": ("mp3", "mp3float"),
    "Opus": ("opus", "libopus"),
    "Vorbis": ("vorbis", "libvorbis"),
    "PCM": ("pcm_s16le",),
}
FRAMES, SIDE, RATE, SAMPLES = 10, 64, 16_000, 1024


def _examine() -> None:
    report(step="import av")
    import av

    ffmpeg = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    report(av=av.__version__, ffmpeg=getattr(av, "ffmpeg_version_info", "") or f"libavcodec {ffmpeg}")
    report(step="looking for decoders")
    report(missing=[name for name, decoders in DECODERS.items() if not any(map(_has_decoder, decoders))])
    report(step="writing and reading a clip")
    report(clip=_clip_round_trip())
    report(step="writing and reading a JPEG")
    report(jpeg=_jpeg_round_trip())


def _has_decoder(name: str) -> bool:
    from av.codec import Codec

    try:
        return Codec(name, "r").is_decoder
    except ValueError:  # no such decoder
        return False


def _clip_round_trip() -> str:
    """Writes MPEG-4 and AAC in mp4; returns the fault of the clip that comes back, or an empty text."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio = output.add_stream("aac", rate=RATE, layout="mono")
        for number in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 20 * number + 20, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            tone = np.sin(np.arange(SAMPLES) * 0.2, dtype=np.float32)[None]
            sound = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            sound.sample_rate, sound.pts = RATE, number * SAMPLES
            output.mux(audio.encode(sound))
        output.mux([*video.encode(), *audio.encode()])
    file.seek(0)
    with av.open(file) as source:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in source.decode(video=0)]
    file.seek(0)
    with av.open(file) as source:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
    if len(levels) != FRAMES:
        return f"{len(levels)} of {FRAMES} frames came back"
    wrong = max(abs(level - (20 * number + 20)) for number, level in enumerate(levels))
    if wrong > 8:
        return f"frames came back with another brightness, off by {wrong:.0f} of 255"
    loudness = float(np.sqrt(np.mean(samples[SAMPLES : (FRAMES - 1) * SAMPLES] ** 2)))
    return "" if 0.6 < loudness < 0.8 else f"the audio came back with loudness {loudness:.2f} instead of 0.71"


def _jpeg_round_trip() -> str:
    import numpy as np
    import simplejpeg

    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    back = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(picture, quality=90))
    off = int(np.abs(back.astype(int) - 100).max())
    return "" if off < 8 else f"a grey image came back off by {off} of 255"


if __name__ == "__main__":
    report_failures_of(_examine)
