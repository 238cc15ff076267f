"""Charts, spectrogram pictures and wording against values worked out by hand."""

from __future__ import annotations

import base64
import io
import re

import matplotlib.image
import numpy as np
import pytest
import simplejpeg

from pemt_tf.report.charts import (
    Axis,
    Chart,
    curve_panels,
    histogram,
    line_chart,
    nice_ticks,
    path_data,
    running_mean,
    thinned,
)
from pemt_tf.report.contents import Curves, Run, Series
from pemt_tf.report.images import palette, palette_png, small_jpeg, small_spectrogram, spectrogram_uris
from pemt_tf.report.page import templates
from pemt_tf.report.tables import Bar, Code, Measured, Number, Table
from pemt_tf.report.wording import counted, duration, percent


def block(name: str, *data: object) -> str:
    """What a macro of the pages' building blocks makes of data."""
    return getattr(templates().get_template("blocks.html").module, name)(*data)


def drawn(chart: Chart) -> str:
    return block("chart", chart)


def test_path_goes_through_the_points():
    across, up = Axis(0, 100, 40, 240), Axis(1, 5, 160, 10)  # y grows downwards
    data = path_data((0, 25, 100), (1.0, 5.0, 3.0), across, up)
    assert data == "M40.0 160.0 L90.0 10.0 L240.0 85.0"


def test_chart_places_a_known_series():
    chart = drawn(line_chart([("loss", Series((0, 50, 100), (10.0, 5.0, 0.0)))], "falling"))
    # 340 x 190 with margins 44 left, 10 right, 10 top, 24 bottom: x from 44 to 330; y from 166 (0) to 10 (10.6).
    assert re.findall(r'd="([^"]+)"', chart) == ["M44.0 18.8 L187.0 92.4 L330.0 166.0"]
    assert re.findall(r">([\d.]+)</text>", chart) == ["0", "5", "10", "0", "50", "100"]
    assert 'aria-label="falling"' in chart and "<title>loss</title>" in chart


def test_chart_gives_each_run_its_place_also_when_one_has_no_values():
    chart = drawn(line_chart([("first", Series((), ())), ("second", Series((1, 2), (3.0, 4.0)))], "two runs"))
    assert "series-2" in chart and "series-1" not in chart


def test_values_that_are_not_finite_are_left_out():
    series = thinned(Series((1, 2, 3, 4), (1.0, float("nan"), float("inf"), 2.0)))
    assert series == Series((1, 4), (1.0, 2.0))
    loss = {"loss": Series((1, 2), (float("nan"), float("inf")))}
    (panel,) = curve_panels(Curves("Training", (Run("only", loss),)))
    assert line_chart([*loss.items()], "nothing") is panel.chart is None
    assert '<p class="empty">No finite value was logged.</p>' in block("panels", [panel])


def test_one_value_is_a_dot():
    chart = drawn(line_chart([("loss", Series((7,), (2.0,)))], "one"))
    assert chart.count("<circle") == 1 and "nan" not in chart


def test_long_runs_are_averaged():
    series = thinned(Series(tuple(range(1, 11)), tuple(float(value) for value in range(1, 11))), most=4)
    assert series == Series((3, 6, 9, 10), (2.0, 5.0, 8.0, 10.0))


def test_running_mean():
    assert running_mean((0.0, 3.0, 6.0, 3.0), 1) == [1.5, 3.0, 4.0, 4.5]
    assert running_mean((1.0, 2.0), 0) == [1.0, 2.0]


def test_histogram_draws_counts_as_heights():
    chart = drawn(histogram(tuple(range(0, 45, 5)), (4, 0, 2, 1, 0, 0, 0, 0), "s", "lengths"))
    # 340 x 130 with margins 44 left, 10 right, 10 top, 24 bottom: eight columns of 35.75; 4 reaches from 106 to 10.
    columns = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', chart)
    assert columns[0] == ("44.0", "10.0", "34.8", "96.0")
    assert columns[2] == ("115.5", "58.0", "34.8", "48.0")
    assert [height for *_, height in columns] == ["96.0", "0.0", "48.0", "24.0"] + ["0.0"] * 4
    assert "<title>10 to 15 s: 2</title>" in chart and 'aria-label="lengths"' in chart
    assert re.findall(r">([\d.]+)</text>", chart) == ["0", "2", "4", "0", "10", "20", "30", "40"]


def test_histogram_of_a_single_column_does_not_fill_the_chart():
    chart = drawn(histogram((5.0, 5.1), (3,), "s", "one"))
    assert re.findall(r'width="([\d.]+)"', chart) == ["34.8"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 5, 10]),
        (0, 9.3, [0, 2, 4, 6, 8]),
        (0.12, 0.33, [0.15, 0.2, 0.25, 0.3]),
        (10, 600, [200, 400, 600]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (2, 2, [2]),
    ],
)
def test_nice_ticks(low, high, expected):
    assert nice_ticks(low, high) == pytest.approx(expected)


def decode_png(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return (matplotlib.image.imread(io.BytesIO(content))[..., :3] * 255).round().astype(int)


def test_png_has_the_colours_of_the_map():
    picture = decode_png(
        "data:image/png;base64," + base64.b64encode(palette_png(np.array([[0, 255]], np.uint8))).decode()
    )
    assert picture.shape == (1, 2, 3)
    assert picture[0, 0].tolist() == [0, 0, 4]  # magma begins almost black
    assert picture[0, 1].tolist() == [252, 253, 191]  # and ends pale yellow
    np.testing.assert_allclose(palette() / 255, matplotlib.colormaps["magma"].colors, atol=0.5 / 255)


def test_spectrogram_has_low_tones_at_the_bottom_and_one_scale_per_clip():
    log_mel = np.full((2, 6, 9), -10.0)
    log_mel[0, 1] = 0.0  # a low tone through the first segment
    first, second = map(decode_png, spectrogram_uris(log_mel))
    assert first.shape == second.shape == (6, 9, 3)
    brightness = first.sum(-1).mean(1)
    assert brightness.argmax() == 4  # second row from below
    assert (second == [0, 0, 4]).all()


def test_small_jpeg_is_the_middle_square():
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:, :32, 0] = picture[:, -32:, 2] = 255  # left and right of the square
    picture[:, 32:-32, 1] = 200
    small = small_jpeg(simplejpeg.encode_jpeg(picture, quality=98), 48, 10_000)
    pixels = simplejpeg.decode_jpeg(small)
    assert pixels.shape == (48, 48, 3)
    assert np.abs(pixels[:, 2:-2].astype(int) - (0, 200, 0)).max() < 12
    assert simplejpeg.decode_jpeg(small_jpeg(small, 64, 10_000)).shape == (48, 48, 3)  # not enlarged


def test_small_jpeg_gives_up_quality_for_size():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(noise, quality=95)
    assert len(small_jpeg(jpeg, 64, 2500)) <= 2500 < len(small_jpeg(jpeg, 64, 10**6))


def test_small_spectrogram_takes_means():
    log_mel = np.arange(24, dtype=float).reshape(1, 4, 6)
    assert small_spectrogram(log_mel, 2, 3).tolist() == [[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]
    assert small_spectrogram(log_mel, 4, 9) is log_mel
    assert small_spectrogram(log_mel, 1, 4).shape == (1, 1, 4)  # parts of one and two frames


def test_silence_and_damage_can_be_drawn():
    assert len(spectrogram_uris(np.zeros((3, 4, 5)))) == 3
    assert len(spectrogram_uris(np.full((1, 4, 5), np.nan))) == 1


def test_every_cell_of_a_table_is_escaped():
    rows = [("<a>", Bar(0.25), Code("<b>"), None, 3), ("c", Bar(7), "<d>", Measured(0.5, (0.25, 0.75)), Measured(None))]
    text = block("table", Table('"><i>', ("Name", "", "<e>", "Right", Number("k")), rows))
    cells = re.findall(r"<t[hd]([^>]*)>(.*)</t[hd]>", text)
    assert [content for _, content in cells] == [
        *("Name", "", "&lt;e&gt;", "Right", "k"),
        *("&lt;a&gt;", '<span class="bar" style="--share:0.2500"></span>', "<code>&lt;b&gt;</code>", "", "3"),
        *("c", '<span class="bar" style="--share:1.0000"></span>', "&lt;d&gt;"),
        "<span><strong>50.0\u00a0%</strong><small> 25.0 to 75.0\u00a0%</small></span>",
        "not measured",
    ]
    assert [attributes for attributes, _ in cells[5:10]] == [
        ' scope="row"',
        ' class="bar-cell"',
        "",
        "",
        ' class="number"',
    ]
    assert text.count("&#34;&gt;&lt;i&gt;") == 2 and "<i>" not in text  # caption and name of the frame


def test_wording():
    assert percent(0.787) == "79\u00a0%" and percent(0.155, 1) == "15.5\u00a0%"
    assert counted(1, "clip", "clips") == "1\u00a0clip" and counted(1200, "clip", "clips") == "1,200\u00a0clips"
    assert [duration(s) for s in (0.42, 41.2, 59.7, 185, 3661, 7800)] == [
        "0.4 s", "41 s", "1 min 00 s", "3 min 05 s", "1 h 01 min", "2 h 10 min",
    ]  # fmt: skip
