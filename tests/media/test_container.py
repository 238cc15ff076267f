"""The decoder sees one file: whatever that file says, no other file and no address is opened."""

import io
import os
import shutil
import socket
import threading

import av
import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.export.clip_request import decode_media
from pemt_tf.media.clip_decoder import MediaError, decode_clip
from pemt_tf.media.container import FORMATS, SingleFile, open_container
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, numbers

PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile secret.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "DASH": '<?xml version="1.0"?>\n<MPD><Period><AdaptationSet><Representation><BaseURL>secret.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "PLS": "[playlist]\nFile1=secret.mp4\nNumberOfEntries=1\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a file that would be shown if FFmpeg followed a reference."""
    folder = tmp_path_factory.mktemp("disguised")
    media.write_video(folder / "secret.mp4", seconds=1)
    media.write_video(folder / "secret.ts", seconds=1)
    return folder


def failure(source):
    with pytest.raises(MediaError) as caught:
        decode_clip(source, GEOMETRY)
    return caught.value


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ffconcat"])
def test_playlists_are_refused_by_name(folder, monkeypatch, kind, suffix):
    monkeypatch.chdir(folder)  # where a reference from an open file would be looked for
    path = folder / f"list{suffix}"
    path.write_text(PLAYLISTS[kind].replace("{port}", "5004"))
    for source in (str(path), io.BytesIO(path.read_bytes())):
        error = failure(source)
        assert error.cause == "open_failed"
        assert kind in error.detail and "is not a media file" in error.detail


@pytest.mark.parametrize("kind", ["concat", "HLS"])
def test_protocols_are_off_even_where_a_format_is_let_in(folder, monkeypatch, kind):
    monkeypatch.chdir(folder)
    path = folder / "list.m3u8"
    path.write_text(PLAYLISTS[kind])
    with av.open(str(path), options={"safe": "0", "allowed_extensions": "ALL"} if kind == "concat" else {}) as followed:
        assert sum(1 for packet in followed.demux() if packet.size)  # FFmpeg left alone does follow it
    formats = ",".join([*FORMATS.split(), "concat", "hls"])
    monkeypatch.setattr("pemt_tf.media.container.OPTIONS", {"protocol_whitelist": "", "format_whitelist": formats})
    with pytest.raises(MediaError, match="open_failed"):
        open_container(SingleFile(str(path)))


def test_no_connection_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/secret.ts"
        path = tmp_path / "a.mp4"
        for text in (PLAYLISTS["HLS"].replace("secret.ts", address), f"ffconcat version 1.0\nfile {address}\n"):
            path.write_text(text)
            thread = threading.Thread(target=failure, args=(str(path),))
            thread.start()
            with pytest.raises(TimeoutError):
                server.accept()
            thread.join()


def test_a_name_with_a_pattern_is_one_file(tmp_path):
    """FFmpeg would take these names for all pictures of a series, in the order of their numbers."""
    black, white = (np.full((48, 64, 3), value, np.uint8) for value in (0, 255))
    for number, picture in enumerate([white] * 20):
        image = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="rgb8")
        media.write_frames(tmp_path / f"a{number:03d}.gif", [image], "gif")
    frame = av.VideoFrame.from_ndarray(black, format="rgb24").reformat(format="rgb8")
    for name in ("a%03d.gif", "a*.gif", "a{000,001}.gif", "12:30 a.gif"):
        path = media.write_frames(tmp_path / "black.gif", [frame] * 20, "gif").rename(tmp_path / name)
        clip = decode_clip(str(path), GEOMETRY)
        assert clip.content.brightness < 5, name
        path.unlink()


def test_external_references_of_a_mov_file_are_not_followed(tmp_path, monkeypatch):
    """A data reference that is not the file itself (type `alis`, with an absolute and a relative path in it)."""
    monkeypatch.chdir(tmp_path)
    secret = media.write_video(tmp_path / "secret.mov", audio_codec=None)
    data = secret.read_bytes()
    name = b"secret.mov"
    path = str(secret).encode()
    entry = bytearray(150)  # as QuickTime wrote aliases; what FFmpeg reads of it is the volume, the name and levels
    entry[10:11] = b"\x03"
    entry[11:14] = b"vol"
    entry[50:51] = bytes([len(name)])
    entry[51 : 51 + len(name)] = name
    entry[130:134] = (1).to_bytes(2, "big") * 2
    for kind, value in ((2, name), (18, path)):
        entry += kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(len(value) % 2)
    entry += b"\xff\xff\x00\x00"
    alias = (len(entry) + 12).to_bytes(4, "big") + b"alis" + bytes(4) + bytes(entry)
    place = data.index(b"dref") - 4
    assert data[place : place + 4] == (28).to_bytes(4, "big")
    reference = (len(alias) + 16).to_bytes(4, "big") + b"dref" + bytes(4) + (1).to_bytes(4, "big") + alias
    grown = bytearray(data[:place] + reference + data[place + 28 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = grown.index(box) - 4
        size = int.from_bytes(grown[start : start + 4], "big") + len(reference) - 28
        grown[start : start + 4] = size.to_bytes(4, "big")
    disguised = tmp_path / "a.mov"
    media_data = data.index(b"mdat")
    if media_data < place:  # the pictures' bytes are not there: they can only come from the other file
        size = int.from_bytes(data[media_data - 4 : media_data], "big") - 8
        grown[media_data + 4 : media_data + 4 + size] = bytes(size)
    disguised.write_bytes(grown)
    with av.open(str(disguised), options={"enable_drefs": "1", "use_absolute_path": "1"}) as followed:
        assert sum(1 for packet in followed.demux() if packet.size and any(bytes(packet)))
    assert failure(str(disguised)).cause in ("truncated", "zero_frames", "open_failed", "decode_failed")


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "pipe.mp4 is a pipe (FIFO), not a file" in failure(str(tmp_path / "pipe.mp4")).detail
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.mp4"))
        assert "is a socket, not a file" in failure(str(tmp_path / "socket.mp4")).detail
    assert "/dev/null is a device, not a file" in failure("/dev/null").detail
    assert "is a folder, not a file" in failure(str(tmp_path)).detail
    assert failure(str(tmp_path / "nothing.mp4")).detail == f"no file at {tmp_path / 'nothing.mp4'}"
    assert {failure(str(path)).cause for path in (tmp_path, tmp_path / "pipe.mp4", tmp_path / "a.mp4")} == {"not_found"}


def test_captions_are_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n2\n00:00:02,000 --> 00:00:04,000\nWorld\n")
    assert "it is not a media file" in failure(str(path)).detail
    path.write_text('{"captions":[{"duration":1000,"content":"x","startOfParagraph":true,"startTime":0}]}')
    assert "it is not a media file" in failure(str(path)).detail


def test_names_of_any_length_kind_and_place(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "file:concat:" + "ü" * 100 + " %d.mp4"
    shutil.copy(folder / "secret.mp4", name)
    assert numbers(decode_clip(name, GEOMETRY))[0] == 0


def test_all_formats_are_ffmpegs():
    names = FORMATS.split()
    assert len(names) == len(set(names))
    assert not set(names) & {"concat", "hls", "sdp", "image2", "rtsp", "rtp", "sap", "lavfi", "vobsub", "dash", "tty"}
    assert {"mov", "matroska", "avi", "mpegts", "ogg", "flv", "asf", "wav"} <= set(names)
    assert all(av.format.ContainerFormat(name, "r").is_input for name in names)


def test_a_name_that_is_too_long():
    for path in ("x" * 300 + ".mp4", "a\0b.mp4"):
        assert failure(path).cause == "not_found"
        with pytest.raises(PemtError, match="there is no such file"):
            decode_media(path, GEOMETRY, None, None)
