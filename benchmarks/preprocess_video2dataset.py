"""video2dataset on local files: scaled, 15 frames a second, sound at 44.1 kHz; it makes neither JPEGs nor spectrograms.

    .venv-bench-media/bin/python benchmarks/preprocess_video2dataset.py OUTPUT FILE ...

One process and one thread. Its first stage takes the sound out and packs, its second does the rest (with subsamplers
in the first stage version 1.3.0 fails: `no attribute 'encode_formats'`); files without sound fail. It needs the
commands `ffmpeg` and `ffprobe`; the first comes from imageio-ffmpeg, and as no package brings the second, a small
stand-in counts the streams, which is all that is asked of it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import imageio_ffmpeg
from video2dataset import video2dataset

# ffmpeg-python asks `ffprobe ... FILE` for JSON; video2dataset looks at the number of streams only.
FFPROBE = """#!/bin/sh
for last; do :; done
count=$("{ffmpeg}" -hide_banner -i "$last" 2>&1 | grep -c 'Stream #')
[ "$count" -gt 0 ] || exit 1
printf '{{"streams": ['; i=1
while [ $i -lt "$count" ]; do printf '{{}}, '; i=$((i + 1)); done
printf '{{}}]}}'
"""
COMMON = {
    "reading": {"yt_args": {}, "timeout": 60, "sampler": None},
    "storage": {"number_sample_per_shard": 1000, "oom_shard_count": 5, "captions_are_subtitles": False},
    "distribution": {"processes_count": 1, "thread_count": 1, "subjob_size": 1000, "distributor": "multiprocessing"},
}
SMALLER = {
    "ResolutionSubsampler": {"args": {"height": 160, "resize_mode": "scale"}},
    "FrameSubsampler": {"args": {"frame_rate": 15}},
    "AudioRateSubsampler": {"args": {"sample_rate": 44_100, "encode_format": "wav", "n_audio_channels": 1}},
}


def install_commands(folder: Path) -> None:
    """Puts `ffmpeg` and `ffprobe` into a folder and the folder onto the search path."""
    folder.mkdir(parents=True)
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    (folder / "ffmpeg").symlink_to(ffmpeg)
    (folder / "ffprobe").write_text(FFPROBE.format(ffmpeg=ffmpeg))
    (folder / "ffprobe").chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def main() -> None:
    """The command line."""
    output, files = Path(sys.argv[1]).resolve(), sys.argv[2:]
    output.mkdir(parents=True)
    install_commands(output / "bin")
    table = output / "files.csv"
    table.write_text("url\n" + "".join(f"{path}\n" for path in files))
    packed = output / "packed"
    video2dataset(
        url_list=str(table),
        output_folder=str(packed),
        output_format="webdataset",
        input_format="csv",
        encode_formats={"video": "mp4", "audio": "wav"},
        config={**COMMON, "subsampling": {}},
        tmp_dir=str(output),
    )
    video2dataset(
        url_list=str(packed / "{00000..00000}.tar"),
        output_folder=str(output / "made"),
        output_format="webdataset",
        input_format="webdataset",
        stage="subset",
        encode_formats={"video": "mp4", "audio": "wav"},
        config={**COMMON, "subsampling": SMALLER},
        tmp_dir=str(output),
    )
    stats = [json.loads(path.read_text()) for path in (output / "made").glob("*_stats.json")]
    print(json.dumps({"clips": sum(one["successes"] for one in stats)}))


if __name__ == "__main__":
    main()
