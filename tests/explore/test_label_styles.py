"""The legend: who gets a look of its own, and that everybody can tell the looks apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pemt_tf.explore.label_styles import DARK, LIGHT, REST, SHAPES, label_styles

GROUNDS = {"light": (LIGHT, REST[0], "#ffffff"), "dark": (DARK, REST[1], "#1b1f25")}
# What remains of linear RGB for a full deficiency: Machado, Oliveira and Fernandes, 2009, table of severity 1.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_stay_apart(ground, sight):
    seen = [lab(np.array(SIGHT[sight]) @ linear(colour)) for colour in GROUNDS[ground][0]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 30


@pytest.mark.parametrize("ground", GROUNDS)
def test_colours_stand_out_from_the_ground(ground):
    colours, rest, behind = GROUNDS[ground]
    bright = [float(TO_XYZ[1] @ linear(colour)) for colour in (behind, *colours, rest)]
    for other in bright[1:]:
        high, low = max(bright[0], other), min(bright[0], other)
        assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.2, 1.4.11


def test_grounds_are_those_of_the_style_sheet():
    from pemt_tf.report.page import STYLE_SHEET

    text = STYLE_SHEET.read_text()
    assert [line.split("--card: ")[1][:7] for line in text.splitlines() if "--card: " in line] == ["#ffffff", "#1b1f25"]


def test_frequent_labels_come_first_and_ties_by_name():
    styles, places = label_styles(["b", "a", None, "c", "c", "", "b"])
    assert [(style.name, style.clips) for style in styles] == [("b", 2), ("c", 2), ("a", 1), ("no label", 2)]
    assert places == [0, 2, 3, 1, 1, 3, 0]
    assert styles[-1].shape == "ring" and not styles[-1].is_label


def test_ten_thousand_labels_fold():
    labels = [f"label {number}" for number in range(10_000)] + ["label 9000"] * 5
    styles, places = label_styles(labels)
    assert len(styles) == len(LIGHT) * len(SHAPES) + 1 == 22
    assert styles[0].name == "label 9000" and styles[0].clips == 6
    assert styles[-1].name == "other (9,979)" and styles[-1].clips == 9_979
    assert sum(style.clips for style in styles) == len(labels) == len(places)
    assert len({(style.light, style.shape) for style in styles}) == 22
    assert places[-5:] == [0] * 5 and max(places) == 21


def test_no_labels_at_all():
    styles, places = label_styles([None, None])
    assert [style.name for style in styles] == ["no label"] and places == [0, 0]


def test_a_label_called_like_the_rest_keeps_its_own_look():
    styles, places = label_styles(["no label", None])
    assert [style.is_label for style in styles] == [True, False] and places == [0, 1]
