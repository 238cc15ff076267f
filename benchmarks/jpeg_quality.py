"""What coarser JPEGs save in training's input: CPU time of decoding a crop's window, and bytes, by quality.

    python benchmarks/jpeg_quality.py

Made-up frames of 160 x 284 pixels, smooth pictures in weak and in stronger noise, colour at half resolution as
beam_jobs.preprocess stores it; windows of 112 x 114 pixels, as a crop of preset avbert_base needs them.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import simplejpeg
import tensorflow as tf

HEIGHT, WIDTH, WINDOW = 160, 284, [10, 50, 112, 114]
NOISES, QUALITIES, FRAMES, ROUNDS = (2.0, 6.0), (95, 90, 85, 75), 40, 12


def frames(noise: float) -> list[np.ndarray]:
    """Frames with noise of a standard deviation, of 256 grey levels."""
    rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:HEIGHT, :WIDTH]
    waves = [
        128
        + 60 * np.sin((rows + columns * (n % 3 + 1) / 3 + 4 * n) / 17)
        + 40 * np.sin(rows * columns / (900 + 50 * n))
        for n in range(FRAMES)
    ]
    noisy = [wave[..., None] + rng.normal(0, noise, (HEIGHT, WIDTH, 3)) for wave in waves]
    return [np.clip(each, 0, 255).astype(np.uint8) for each in noisy]


def seconds(jpegs: list[bytes]) -> float:
    """CPU time of decoding the window of every JPEG, the best of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for jpeg in jpegs:
            tf.raw_ops.DecodeAndCropJpeg(contents=jpeg, crop_window=WINDOW, channels=3)
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    """Prints the table."""
    print("| noise | quality | us a frame | of quality 95 | bytes a frame | of quality 95 |\n|---|---|---|---|---|---|")
    for noise in NOISES:
        first = None
        for quality in QUALITIES:
            jpegs = [simplejpeg.encode_jpeg(each, quality=quality, colorsubsampling="420") for each in frames(noise)]
            taken, size = seconds(jpegs) / FRAMES, sum(map(len, jpegs)) / FRAMES
            first = first or (taken, size)
            row = (
                noise,
                quality,
                f"{1e6 * taken:.0f}",
                f"{taken / first[0]:.2f}",
                f"{size:.0f}",
                f"{size / first[1]:.2f}",
            )
            print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
