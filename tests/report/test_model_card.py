"""The model card: the fields of Mitchell et al. 2019, the figures of the files, and no claim that nobody made."""

from __future__ import annotations

import json
import re

import pytest

from pemt_tf.config import Config
from pemt_tf.data.dataset_card import DatasetCard, SplitCard
from pemt_tf.report.model_card import code, model_card, plain
from pemt_tf.report.run_files import RunFiles
from tests.report.fake_run import HASH, PARAMETERS, evaluation, write_results, write_run

TINY = Config.from_preset("tiny")
FIELDS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "How to reproduce",
]


def card_of(folder, dataset=None):
    return model_card(RunFiles.read(folder), PARAMETERS, dataset).replace("\N{NO-BREAK SPACE}", " ")


def part(card, title):
    return card.partition(f"## {title}\n\n")[2].partition("\n## ")[0]


def test_fields_in_order_and_none_is_empty(tmp_path):
    for folder in (write_run(tmp_path / "a", TINY), write_run(tmp_path / "b", TINY, kind="pretrain", finished=False)):
        card = card_of(folder)
        assert re.findall("^## (.*)$", card, re.M) == FIELDS
        assert all(part(card, title).strip() for title in FIELDS)


def test_results_are_those_of_the_files(tmp_path):
    folder = write_run(tmp_path / "run", TINY)
    write_results(folder)
    results = part(card_of(folder), "Quantitative analyses")
    assert "| test | 12 | 75.0 % (46.8 to 91.1 %) | 100.0 % (75.8 to 100.0 %) | 50.0 % | 3 × 3 | 15.0 % |" in results
    assert "| dog | 6 | 83.3 % (43.6 to 97.0 %) |" in results
    assert "| visual | 62.5 % (35.1 to 84.2 %) | 50.0 % (25.4 to 74.6 %) |" in results
    assert "| audio to frames | linear map | 12.5 % | 50.0 % | 87.5 % | 5.5 | 12 |" in results


def test_what_is_not_known_is_said(tmp_path):
    card = card_of(write_run(tmp_path / "run", TINY, data=None, data_hash=None))
    training = part(card, "Training data")
    assert "Data: Not known." in training and "Hash of the records: Not known." in training
    assert "Clips: Not known." in training and "under which terms: not known" in training
    assert part(card, "Evaluation data").strip() == "None: the model was not evaluated."
    assert "pemt evaluate --model" in part(card, "Caveats and recommendations")
    assert "licence of the model, contact: not known" in part(card, "Model details")


def test_training_data_come_from_the_data_sets_card(tmp_path):
    split = SplitCard(["f"], 40, {"dog": 30}, 10, 39, 38, 7200.0)
    dataset = DatasetCard(
        TINY.geometry, ["dog"], {"train": split}, 40, 40, {}, {}, silent=3, source="my videos", content_hash=HASH
    )
    card = card_of(write_run(tmp_path / "run", TINY), dataset)
    assert "Clips: 40, of them labelled 30, with frames 39, with audio 38; 2.00 hours." in part(card, "Training data")
    assert f"`{HASH}`" in part(card, "Training data") and "`my videos`" in part(card, "Training data")
    assert "4 segments of 0.5 s: 4 frames at 8 per second" in part(card, "Training data")
    assert "Silent clips in the data: 3" in part(card, "Caveats and recommendations")


def test_cautions_are_repeated(tmp_path):
    folder = write_run(tmp_path / "run", TINY, finished=False)
    found = {**evaluation(), "caution": "these clips were trained on"}
    (folder / "evaluation-train.json").write_text(json.dumps(found))
    caveats = part(card_of(folder), "Caveats and recommendations")
    assert "The training is not finished." in caveats
    assert "these clips were trained on" in caveats


def test_changed_settings_and_commands(tmp_path):
    folder = write_run(tmp_path / "run", TINY.with_overrides(["finetune.steps=99"]))
    last = part(card_of(folder), "How to reproduce")
    assert "| `finetune.steps` | `150` | `99` |" in last
    command = f"pemt finetune --data 'out/my records' --preset tiny --set finetune.steps=99 --output {folder}"
    assert command in last.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a_b*c", r"a\_b\*c"), ("<b>|x|", r"\<b\>\|x\|"), ("two\nlines", "two lines"), ("plain", "plain")],
)
def test_plain_text_is_not_markup(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("a|b", "`a|b`"), ("a`b", "`` a`b ``"), ("a\nb", "`a b`")])
def test_code_keeps_its_ticks(text, expected):
    assert code(text) == expected


def test_labels_and_names_are_text_in_the_card(tmp_path):
    labels = ("[dog](http://evil)", "cat|<b>")
    folder = write_run(tmp_path / "run", TINY, labels)
    write_results(folder, labels)
    card = card_of(folder)
    assert r"\[dog\](http://evil)" in card and r"cat\|\<b\>" in card
    assert "[dog](" not in card and "<b>" not in card.replace(r"\<b\>", "")
