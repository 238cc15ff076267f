"""The frames of the demo: one handwritten digit that moves over a textured background.

The handwriting is real: the 8 x 8 digits that scikit-learn ships. A clip consists of short shots. Size, path, colours,
contrast and texture are drawn at random for each shot, so its segments have nothing in common but the handwriting.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

SHOT_SECONDS = (0.35, 0.70)  # length of a shot


@dataclass(frozen=True)
class Look:
    """How hard it is to see the digit. Pairs are the smallest and largest value; levels are grey levels, 0 to 255."""

    digit_size: tuple[float, float] = (0.60, 0.80)  # side of the digit, as a share of the frame's short side
    contrast: tuple[float, float] = (130.0, 170.0)  # between the digit and the background's mean, levels
    polarities: tuple[float, ...] = (-1.0, 1.0)  # 1 for light ink, -1 for dark ink; one is drawn
    texture: tuple[float, float] = (2.0, 6.0)  # standard deviation of the background, levels
    tint: float = 10.0  # largest colour cast of digit and background, levels
    pixel_noise: tuple[float, float] = (0.0, 2.0)  # standard deviation of each frame's noise, levels


DEMO_LOOK = Look()
TEXTURE_GRAIN = (3.0, 14.0)  # size of the blobs of the background, pixels
BACKGROUND_DRIFT = 12.0  # fastest drift of the background, pixels per second
STROKE = (0.30, 0.75)  # ink below the first value is paper, above the second it is full


@functools.cache
def handwritten_digits() -> tuple[np.ndarray, np.ndarray]:
    """Ink from 0 to 1, [1797, 8, 8] float32, and the digit of each image, [1797] int64."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) / 16.0).astype(np.float32), digits


def moving_digit(
    ink: np.ndarray, frames: int, frame_rate: float, width: int, height: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws one clip, [frames, height, width, 3] uint8 RGB; speeds do not depend on the frame rate.

    Args:
        ink: [8, 8] float, 0 (paper) to 1 (full ink).
    """
    time = np.arange(frames) / frame_rate
    cuts = np.cumsum(generator.uniform(*SHOT_SECONDS, size=1 + int(time[-1] / SHOT_SECONDS[0])))
    shots = np.split(time, np.searchsorted(time, cuts[cuts < time[-1]]))
    # Each shot draws from a generator of its own, so that its path does not depend on the number of frames before it.
    pairs = zip(shots, generator.spawn(len(shots)), strict=True)
    return np.concatenate([draw_shot(ink, shot, width, height, draws) for shot, draws in pairs if len(shot)])


def draw_shot(
    ink: np.ndarray, time: np.ndarray, width: int, height: int, generator: np.random.Generator, look: Look = DEMO_LOOK
) -> np.ndarray:
    """Draws one shot, with one choice of colours, path and texture; [frames, height, width, 3] uint8 RGB.

    Args:
        ink: [rows, rows] float, 0 (paper) to 1 (full ink).
        time: [frames] seconds.
    """
    short = min(width, height)
    side = short * generator.uniform(*look.digit_size)
    room = max((short - side) / 2, 0.0)
    left = width / 2 - side / 2 + room * _wander(time, generator)
    top = height / 2 - side / 2 + room * _wander(time, generator)
    rows, columns = _spread(top, side, height, len(ink)), _spread(left, side, width, len(ink))
    cover = np.einsum("fyi,ij,fxj->fyx", rows, ink, columns, optimize=True)
    cover = np.clip((cover - STROKE[0]) / (STROKE[1] - STROKE[0]), 0, 1)[..., None].astype(np.float32)

    contrast = generator.uniform(*look.contrast) * generator.choice(look.polarities)
    middle = generator.uniform(max(40.0, 25.0 - contrast), min(215.0, 230.0 - contrast))
    paper = middle + generator.uniform(-look.tint, look.tint, 3)
    pen = middle + contrast + generator.uniform(-look.tint, look.tint, 3)
    background = paper + _texture(time, width, height, look.texture, generator)[..., None]
    pixels = background + cover * (pen - background)
    noise = generator.standard_normal((len(time), height, width, 1), np.float32) * generator.uniform(*look.pixel_noise)
    return np.clip(pixels + noise, 0, 255).round().astype(np.uint8)


def _wander(time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One coordinate of the path, -1 to 1, [frames]: bounces between walls, or swings smoothly."""
    speed, start = generator.uniform(0.3, 2.2), generator.uniform(0, 4)  # in half widths of the room
    travelled = start + speed * time
    if generator.random() < 0.5:
        return np.abs(travelled % 4 - 2) - 1
    return np.sin(travelled * np.pi / 2)


def _spread(offset: np.ndarray, side: float, length: int, samples: int) -> np.ndarray:
    """Weights of the cubic (Catmull-Rom) kernel, which keeps thin strokes and small loops.

    They enlarge `samples` values to `side` pixels that begin at each offset ([frames] float, pixels), at sub-pixel
    precision: [frames, length, samples] float.
    """
    position = (np.arange(length) + 0.5 - offset[:, None]) / side * samples - 0.5
    distance = np.abs(position[..., None] - np.arange(samples))
    near = 1 - 2.5 * distance**2 + 1.5 * distance**3
    far = 2 - 4 * distance + 2.5 * distance**2 - 0.5 * distance**3
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _texture(
    time: np.ndarray, width: int, height: int, deviation: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """A drifting random texture of mean 0, [frames, height, width] float32, grey levels."""
    grain = generator.uniform(*TEXTURE_GRAIN)
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    spectrum = np.fft.rfft2(generator.standard_normal((height, width)))
    spectrum *= np.exp(-((down**2 + right**2) * (np.pi * grain) ** 2) / 2)
    spectrum[0, 0] = 0
    angle, speed = generator.uniform(0, 2 * np.pi), generator.uniform(0, BACKGROUND_DRIFT)
    shift = speed * time[:, None, None] * (down * np.sin(angle) + right * np.cos(angle))  # a shift turns the phases
    frames = np.fft.irfft2(spectrum * np.exp(-2j * np.pi * shift), (height, width))
    return (frames / frames.std() * generator.uniform(*deviation)).astype(np.float32)
