"""Which data set a pattern of folders means."""

from pathlib import Path

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.data_spans import DataFolder, find_data, span_in_words


def finished(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "dataset_card.json").write_text("{}", encoding="utf-8")
    return folder


def test_a_folder_without_placeholders_is_taken_as_it_is():
    assert find_data(Path("/data/birds")) == DataFolder(Path("/data/birds"), Path("/data/birds"))


def test_the_newest_day_and_of_it_the_newest_version(tmp_path):
    for name in ("2026-11-24/v9", "2026-11-25/v2", "2026-11-25/v10", "2026-02-30/v1", "other/v1"):
        finished(tmp_path / f"day-{name}")

    found = find_data(tmp_path / "day-{YYYY}-{MM}-{DD}" / "v{VERSION}")

    assert found == DataFolder(
        tmp_path / "day-2026-11-25" / "v10", tmp_path, "day-{YYYY}-{MM}-{DD}/v{VERSION}", 20782, 10
    )
    assert span_in_words(found.span, found.version, dated=True) == "2026-11-25, version 10"


def test_folders_that_are_still_being_written_are_passed_over(tmp_path):
    finished(tmp_path / "span-7" / "v1" / "records")
    (tmp_path / "span-8" / "v1" / "records").mkdir(parents=True)
    assert find_data(tmp_path / "span-{SPAN}" / "v{VERSION}" / "records").pattern == "span-{SPAN}/v{VERSION}/records"

    train = tmp_path / "span-7" / "v2" / "records" / "train"
    train.mkdir(parents=True)
    found = find_data(tmp_path / "span-{SPAN}" / "v{VERSION}" / "records")
    assert (found.version, found.pattern) == (1, "span-{SPAN}/v{VERSION}/records")

    (train / "clips-00000-of-00002.tfrecord").touch()
    found = find_data(tmp_path / "span-{SPAN}" / "v{VERSION}" / "records")

    # TFX would take v2 by itself, so the version is named.
    assert (found.span, found.version, found.pattern) == (7, 1, "span-{SPAN}/v1/records")
    assert span_in_words(7, None, dated=False) == "span 7" and span_in_words(None, None, dated=False) == ""


def test_a_width_counts(tmp_path):
    finished(tmp_path / "0007")
    finished(tmp_path / "00012")

    assert find_data(tmp_path / "{SPAN:4}").path == tmp_path / "0007"
    assert find_data(tmp_path / "{SPAN}").path == tmp_path / "00012"


@pytest.mark.parametrize("pattern", ["{VERSION}", "{YYYY}-{MM}", "{SPAN}-{YYYY}-{MM}-{DD}", "{SPAN}/{SPAN}", "{DAY}"])
def test_other_placeholders_are_refused(pattern):
    with pytest.raises(PemtError, match=r"allowed placeholders are \{SPAN\}, or \{YYYY\}, \{MM\} and \{DD\}"):
        find_data(Path("/data") / pattern)


def test_no_finished_data_set_is_an_error(tmp_path):
    (tmp_path / "5").mkdir()

    with pytest.raises(PemtError, match="no finished data set fits"):
        find_data(tmp_path / "{SPAN}")
