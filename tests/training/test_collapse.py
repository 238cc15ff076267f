"""The collapse alarm: its two limits, and its words."""

import pytest

from pemt_tf.training.collapse import alarm_line, collapse_alarms


@pytest.mark.parametrize(
    ("spread", "first", "alarm"),
    [(0.2, 0.46, 0.0), (0.04, 0.46, 1.0), (0.05, 0.46, 0.0), (0.015, 0.015, 1.0), (0.03, 0.03, 0.0)],
)
def test_below_two_percent_or_below_a_tenth_of_the_first_line(spread, first, alarm):
    row, begin = {"visual_spread": spread, "loss": 1.0}, {"visual_spread": first}
    assert collapse_alarms(row, begin) == {"visual_collapsed": alarm}


def test_words_name_the_modality_and_only_when_there_is_something_to_say():
    row = {"visual_spread": 0.5, "audio_spread": 0.001}
    line = alarm_line(7, row, {"visual_collapsed": 0.0, "audio_collapsed": 1.0})
    assert "at step 7" in line and "audio 0.0010" in line and "visual" not in line
    assert alarm_line(7, row, {"visual_collapsed": 0.0, "audio_collapsed": 0.0}) == ""
