"""A report with every section, made of invented figures, and the clips in it."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from pemt_tf.models.parameter_report import ParameterReport, ParameterRow
from pemt_tf.report.contents import (
    Accuracy,
    ClipPrediction,
    ClipView,
    CommandRun,
    Comparison,
    ConfusionMatrix,
    Curves,
    KeyFigure,
    Neighbours,
    OutcomeCount,
    Preprocessing,
    Report,
    Run,
    Series,
)


def _clip_view(number: int, label: str = "", segments: int = 4, video: bool = True, audio: bool = True) -> ClipView:
    generator = np.random.default_rng(number)
    jpegs = [simplejpeg.encode_jpeg(generator.integers(0, 256, (16, 20, 3), np.uint8)) for _ in range(segments * 2)]
    return ClipView(
        clip_id=f"train/some_folder/{number:04d}.mp4",
        label=label,
        frames=tuple(zip(jpegs[::2], jpegs[1::2], strict=True)) if video else (),
        log_mel=generator.normal(-4, 2, (segments, 10, 12)) if audio else None,
        segment_starts=tuple(0.5 * segment for segment in range(segments)) if video else (),
    )


def _sample_report(label: str = "three", title: str = "Ten digits") -> Report:
    steps = tuple(range(10, 610, 10))
    falling = Series(steps, tuple(4 / (1 + step / 100) for step in steps))
    query, *others = (_clip_view(number, label) for number in range(4))
    return Report(
        title=title,
        subtitle="A subtitle that says it in one sentence.",
        key_figures=(
            KeyFigure("78.7 %", "accuracy on held-out clips", "95 % interval 68 to 86 %"),
            KeyFigure("271,402", "parameters"),
        ),
        comparison=Comparison(
            (Accuracy("pretrained", 0.787, 0.68, 0.86), Accuracy("from scratch", 0.41, 0.31, 0.52)), 0.1, 80
        ),
        notes=("A first note.", "A second note."),
        clips=(
            query,
            _clip_view(11, audio=False),
            _clip_view(12, label, video=False),
            _clip_view(13, label, segments=10),
        ),
        preprocessing=Preprocessing(
            352,
            338,
            (
                OutcomeCount("filtered", "no_audio", 1, ("no_sound.mp4",)),
                OutcomeCount("failed", "open_failed", 13, tuple(f"bad_{number}.mp4" for number in range(13))),
            ),
        ),
        parameters=ParameterReport(
            (ParameterRow("visual CNN", 200_000, "all segments"), ParameterRow("heads", 71_402, "")), 271_402, 5, 9
        ),
        curves=(
            Curves("Pretraining", (Run("pretraining", {"masked_embedding": falling, "correct_pair": falling}),)),
            Curves("Fine-tuning", (Run("pretrained", {"loss": falling}), Run("from scratch", {"loss": falling}))),
        ),
        confusion=ConfusionMatrix((label, "eight"), ((6, 2), (1, 7))),
        predictions=(ClipPrediction(query, ((label, 0.71), ("eight", 0.155)), "corpus/0001.mp4"),),
        neighbours=(Neighbours(query, tuple(zip(others, (0.97, 0.91, 0.83), strict=True))),),
        commands=(
            CommandRun("python -m beam_jobs.preprocess --input 'my videos'", 41.2),
            CommandRun("pemt pretrain", 185.0),
        ),
        footer="pemt-tf",
    )


@pytest.fixture
def clip_view():
    """Makes a clip of random pictures and sound."""
    return _clip_view


@pytest.fixture
def sample_report():
    """Makes a report that has every section."""
    return _sample_report
