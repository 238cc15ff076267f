"""The way with ffmpeg's command line and librosa: frames as JPEG files, sound as a WAV file, then a mel spectrogram.

    .venv-bench-media/bin/python benchmarks/preprocess_command_line.py OUTPUT FILE ...

Two ffmpeg processes per file, one for the frames and one for the sound. It takes 15 frames of every second, not the
segments of a plan, and leaves the colour matrix as it is. Files in which there is no sound give frames only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import librosa
import numpy as np
import soundfile

FRAME_RATE, SHORT_SIDE, SAMPLE_RATE, MEL_BINS, HOP = 15, 160, 44_100, 80, 736


def convert(ffmpeg: str, path: str, folder: Path) -> None:
    """One file: JPEGs, WAV and mel spectrogram into a folder of its own."""
    folder.mkdir(parents=True)
    scale = f"scale='if(gt(iw,ih),-2,{SHORT_SIDE})':'if(gt(iw,ih),{SHORT_SIDE},-2)':flags=area"
    quiet = [ffmpeg, "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1", "-i", path]
    pictures = ["-an", "-vf", f"fps={FRAME_RATE},{scale}", "-q:v", "2", "-threads", "1", str(folder / "%05d.jpg")]
    wav = folder / "sound.wav"
    sound = ["-vn", "-ac", "1", "-ar", str(SAMPLE_RATE), str(wav)]
    subprocess.run([*quiet, *pictures], check=True)
    if subprocess.run([*quiet, *sound], check=False, stderr=subprocess.DEVNULL).returncode:
        return  # no sound
    samples, rate = soundfile.read(wav, dtype="float32")
    power = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=2 * HOP, hop_length=HOP, n_mels=MEL_BINS, htk=True)
    np.save(folder / "log_mel.npy", np.log(power + 1e-6))


def main() -> None:
    """The command line."""
    output, files = Path(sys.argv[1]), sys.argv[2:]
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    for number, path in enumerate(files):
        convert(ffmpeg, path, output / f"{number:05d}")
    pictures = [len(list(folder.glob("*.jpg"))) for folder in output.iterdir()]
    print(json.dumps({"clips": sum(map(bool, pictures)), "pictures": sum(pictures)}))


if __name__ == "__main__":
    main()
