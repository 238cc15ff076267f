"""Opens a media file so that FFmpeg sees that file alone, no other file or address, and chooses its streams.

FFmpeg also reads lists of files (concat, HLS, SDP ...) and takes names with `%d` for a series of images: a text named
`.mp4` would show the frames of whatever it names. So FFmpeg gets an open file instead of a path, every protocol by
which it could open something itself is off, and only formats that hold media themselves are recognized.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream

from pemt_tf.media.media_errors import MediaError, why_no_file

# FFmpeg's names. Left out: lists of files, devices and network sources, captions, scripts, and images of text.
FORMATS = """
    mov mp4 matroska webm avi mpegts mpegtsraw mpeg ogg flv live_flv kux asf asf_o rm ivr mxf nut dv wtv gxf lxf nsv
    nuv 3gp 3g2 swf ty pva pmp ivf obu av1 h261 h263 h264 hevc vvc evc vc1 vc1test m4v mpegvideo cavsvideo avs2 avs3
    dirac dnxhd apv mjpeg mjpeg_2000 mpjpeg ingenient ipu yuv4mpegpipe rawvideo v210 v210x bitpacked gif apng
    jpegxl_anim flic ico iff fits image2pipe alias_pix brender_pix bmp_pipe cri_pipe dds_pipe dpx_pipe exr_pipe
    gem_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe
    pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe
    qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe xwd_pipe dhav hxvs ifv iv8 lmlm4
    luodat lvf mxg nc msnwctcp simbiosis_imx cine mlv r3d ser filmstrip mv frm msp cdg
    wav w64 aiff caf au mp3 aac loas flac ape wv tta tak shn rka osq mpc mpc8 bonk wavarc ac3 eac3 ac4 dts dtshd mlp
    truehd amr amrnb amrwb aa aea oma xwma vqf voc sox ircam nistsphere avr paf pvf gsm qcp ilbc lc3 sbc codec2
    codec2raw aptx aptx_hd apac iamf dsf wsd dss act g722 g723_1 g726 g726le g728 g729 bit sln spdif s337m daud hca
    hcom qoa dfpwm mmf epaf sds sdx laf nsp wve tmv alaw mulaw vidc u8 s8 u16be u16le u24be u24le u32be u32le s16be
    s16le s24be s24le s32be s32le f32be f32le f64be f64le
    3dostr 4xm aax ace acm adp ads adx afc aix alp anm apc apm argo_asf argo_brp argo_cvg ast avs bethsoftvid bfi bfstm
    bink binka bmv boa brstm c93 cdxl dcstr derf dfa dsicin dxa ea ea_cdata film_cpk fsb fwse gdv genh hnm idcin
    ipmovie iss jv kvag mca mgsts mm mods moflex msf mtaf mtv musx mvi pdv pp_bnk psxstr redspark rl2 roq rpl rsd rso
    scd sdns sdr2 sga siff smjpeg smk smush sol svag svs thp tiertexseq txd usm vag vividas vivo vmd vpk wady wc3movie
    wsaud wsvqa xa xmd xmv xvag yop
"""
# How files begin that name other files, and what they are called.
LISTS = {
    rb"ffconcat version": "a playlist (concat)",
    rb"#EXTM3U": "a playlist (HLS or M3U)",
    rb"v=0\s+o=": "a description of a network stream (SDP)",
    rb"<\?xml.*<MPD|<MPD": "a playlist (DASH)",
    rb"\[playlist\]": "a playlist (PLS)",
}
OPTIONS = {"protocol_whitelist": "", "format_whitelist": ",".join(FORMATS.split())}
PROTECTED = {"encv", "enca", "drmi", "drms", "drmt"}  # sample entries; the last three are Apple's
SCRAMBLED_WITHIN = 2**21  # bytes of a transport stream that are looked at where a stream seems empty
BEGINNING = 4096  # bytes that are looked at to say what a refused file is
LARGEST_SIDE = 16_384
MOST_PIXELS = 64 * 2**20
AnyStream = TypeVar("AnyStream", bound=Stream)

logging.getLogger("libav").addHandler(logging.NullHandler())


class SingleFile:
    """The file that FFmpeg reads from, a path or a seekable binary file; MediaError if it may not be read or is empty.

    Its `name` tells FFmpeg the suffix, by which it recognizes some raw formats, and nothing else.
    """

    def __init__(self, source: str | BinaryIO) -> None:
        name = source if isinstance(source, str) else getattr(source, "name", "")
        file = _open_path(source) if isinstance(source, str) else source
        file.seek(0)
        self.close = file.close if isinstance(source, str) else lambda: None  # callers close what they opened
        suffix = PurePath(name).suffix if isinstance(name, str) else ""
        self.name = "media" + re.sub(r"[^\w.]", "", suffix, flags=re.ASCII)
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def open_container(file: SingleFile) -> tuple[InputContainer, str]:
    """The container, and what FFmpeg complained about while it opened it; MediaError if its format is not supported."""
    try:
        with _messages(av.logging.ERROR) as messages:
            container = av.open(file, "r", options=OPTIONS, metadata_errors="ignore")
        return container, " ".join(text for _, _, text in messages)
    except MemoryError:
        raise MediaError("too_large", "opening took more memory than is allowed") from None
    except (av.FFmpegError, ValueError, OSError) as error:
        said = [text.strip() for level, _, text in messages if level <= av.logging.ERROR]
        problem = "; ".join([message_of(error), *said[:2]])
        if any("not on whitelist" in line for line in said):
            problem = "it is not a media file: FFmpeg takes it for a list of files, captions, a script or text"
        elif not isinstance(error, EOFError) and _has_header(file):
            raise MediaError("zero_frames", f"what the container holds cannot be decoded: {problem}") from None
        raise MediaError("open_failed", _list_in(file) or problem) from None


@contextlib.contextmanager
def _messages(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """Collects what FFmpeg says within the block, up to a level."""
    av.logging.set_level(level)
    try:
        with av.logging.Capture() as messages:
            yield messages
    finally:
        av.logging.set_level(None)


def _has_header(file: SingleFile) -> bool:
    """Whether FFmpeg could read the header of a file that cannot be opened, and gave up over the data of its streams.

    PyAV does both at once, so only FFmpeg's messages tell.
    """
    try:
        with _messages(av.logging.DEBUG) as messages:
            file.seek(0)
            av.open(file, "r", options=OPTIONS, metadata_errors="ignore").close()
    except (av.FFmpegError, ValueError, OSError, MemoryError):
        pass
    return any("Before avformat_find_stream_info" in text for _, _, text in messages)


def encrypted_packets(container: InputContainer, file: SingleFile, stream: Stream, packets: int) -> int:
    """How many of a stream's packets are encrypted according to the container: all or none.

    1 where a transport stream is scrambled, so that FFmpeg does not even find its packets.
    """
    if _is_protected(container, stream):
        return packets
    return int(not packets and container.format.name == "mpegts" and _is_scrambled(file, stream.id))


def _is_protected(container: InputContainer, stream: Stream) -> bool:
    """Whether the container says that a stream is encrypted: WebM's key, ASF's licence, or a sample entry of MP4."""
    if "enc_key_id" in stream.metadata:
        return True
    if container.format.name == "asf" and "ASF_Protection_Type" in container.metadata:
        return True
    if stream.codec_context is not None:
        try:
            return stream.codec_context.codec_tag in PROTECTED
        except ValueError:  # not text
            return False
    with _messages(av.logging.INFO):  # PyAV has no tag of a stream without decoder; this text has
        kinds = re.findall(r"Stream #\d+:(\d+).*?: \w+: none \((\w{4}) ", container.dumps_format())
    return any(int(number) == stream.index and tag in PROTECTED for number, tag in kinds)


def _is_scrambled(file: SingleFile, pid: int) -> bool:
    """Whether the beginning of a transport stream has scrambled packets of a stream."""
    before = file.tell()
    file.seek(0)
    data = np.frombuffer(file.read(SCRAMBLED_WITHIN), np.uint8)
    file.seek(before)
    for size, lead in ((188, 0), (192, 4), (204, 0)):  # plain; from cameras and Blu-rays; with error correction
        packets = data[lead : lead + (len(data) - lead) // size * size].reshape(-1, size)
        if len(packets) and (packets[:, 0] == 0x47).mean() > 0.9:
            numbers = (packets[:, 1].astype(int) & 31) << 8 | packets[:, 2]
            return bool((packets[numbers == pid, 3] & 0xC0).any())
    return False


def message_of(error: Exception) -> str:
    """What an error of FFmpeg or of the system says, without numbers and names."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def choose_stream(
    kind: str, streams: tuple[AnyStream, ...], best: AnyStream | None, number: int | None
) -> AnyStream | None:
    """The stream of that number, or FFmpeg's best, but never cover art: an image in an audio file is no video."""
    real = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if number is None or not real:
        return best if best in real else next(iter(real), None)
    if number >= len(real):
        count = f"{len(real)} {kind} stream" + ("s" if len(real) > 1 else "")
        raise MediaError("no_streams", f"{kind} stream {number} was asked for, counted from 0; the file has {count}")
    return real[number]


def check_size(width: int, height: int, said: str) -> None:
    """Refuses frames of `width` x `height` pixels, as FFmpeg reports them, that are too large.

    FFmpeg refuses the largest sizes itself, reports 0 x 0, and says the size among its complaints, `said`.
    """
    refused = re.search(r"Picture size (\d+)x(\d+) is invalid", said)
    if not width and refused:
        width, height = int(refused[1]), int(refused[2])
    if max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        limit = f"the limit is {LARGEST_SIDE} a side and {MOST_PIXELS // 2**20} Mpx"
        raise MediaError("too_large", f"frames of {width} x {height}; {limit}")


def _list_in(file: SingleFile) -> str | None:
    """What to say of a file that is a list of files; None for any other."""
    try:
        file.seek(0)
        beginning = file.read(BEGINNING).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:  # of the disk or the network
        return None
    for mark, name in LISTS.items():
        if re.match(mark, beginning, re.DOTALL):
            return f"{name} is not a media file: it names others; give those as input"
    return None


def _open_path(path: str) -> BinaryIO:
    problem = why_no_file(path)
    if problem:
        raise MediaError("not_found", problem)
    try:
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - closed by `SingleFile.close`
    except OSError as error:
        raise MediaError("not_found", f"cannot read {path}: {message_of(error)}") from None
    if os.path.getsize(path) == 0:  # noqa: PTH202
        file.close()
        raise MediaError("open_failed", "the file is empty")
    return file
