"""The page as a whole: well formed, self-contained, escaped, complete."""

from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest
import simplejpeg

from pemt_tf.errors import PemtError
from pemt_tf.report.contents import Accuracy, ClipPrediction, ConfusionMatrix, OutcomeCount, Preprocessing, Report
from pemt_tf.report.page import page, write_report

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and keeps attributes and text."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def test_page_is_well_formed_and_anchors_exist_once(sample_report):
    parsed = Page(page(sample_report()))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in parsed.all("a")]
    assert len(links) == 10
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert len(parsed.all("h1")) == 1
    assert parsed.all("html")[0]["lang"] == "en"


def test_page_asks_for_nothing(sample_report):
    text = page(sample_report())
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script|<iframe|<object", text)
    parsed = Page(text)
    for _, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "data", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), attributes
    policy = [meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_page_follows_the_theme_and_the_width(sample_report):
    text = page(sample_report())
    assert "@media (prefers-color-scheme: dark)" in text
    assert [m["content"] for m in Page(text).all("meta") if m.get("name") == "viewport"] == [
        "width=device-width, initial-scale=1"
    ]


HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;"""


def test_hostile_text_stays_text(sample_report):
    report = sample_report(label=HOSTILE, title=HOSTILE)
    hostile_clip = dataclasses.replace(report.clips[0], clip_id=HOSTILE)
    report = dataclasses.replace(
        report,
        subtitle=HOSTILE,
        notes=(HOSTILE,),
        footer=HOSTILE,
        clips=(hostile_clip,),
        commands=(dataclasses.replace(report.commands[0], command=HOSTILE),),
        preprocessing=Preprocessing(1, 0, (OutcomeCount("failed", HOSTILE, 1, (HOSTILE,)),)),
        predictions=(ClipPrediction(hostile_clip, ((HOSTILE, 0.5),), HOSTILE),),
    )
    parsed = Page(page(report))
    assert parsed.all("script") == []
    assert not any("onerror" in attributes for _, attributes in parsed.elements)
    assert all(attributes["src"].startswith("data:") for attributes in parsed.all("img"))
    assert parsed.text.count("<script>alert(1)</script>") >= 10


def test_every_image_has_an_alternative_text_or_stands_in_a_described_strip(sample_report):
    parsed = Page(page(sample_report()))
    assert parsed.all("img") and all("alt" in attributes for attributes in parsed.all("img"))
    for attributes in parsed.all("svg"):
        assert attributes["role"] == "img" and attributes["aria-label"]
    strips = [attributes for attributes in parsed.all("div") if attributes.get("class") == "strip"]
    assert len(strips) == 5
    assert strips[0]["aria-label"] == "Frames and spectrogram of clip train/some_folder/0000.mp4, labelled three"


def test_every_section_tells_its_figures(sample_report):
    text = Page(page(sample_report())).text
    for expected in (
        "78.7 % 95 % interval 68 to 86 %",  # key figures
        "pretrained 79 % 68 % to 86 %",  # comparison
        "Accuracy on 80 held-out clips",
        "chance (10 %)",
        "A first note. A second note.",
        "no frames",
        "no audio",
        "352 inputs = 338 written + 1 filtered by a rule + 13 failed",
        "filtered no_audio 1 no_sound.mp4",
        "bad_11.mp4 and 1 more",
        "visual CNN 200,000 73.7 % all segments",
        "Whole model 271,402 100.0 %",
        "Transformer: 5 of 9",
        "masked embedding 0.571",  # 4 / (1 + 600 / 100)
        "three 6 of 8",
        "three 71.0 %",
        "✓ correct",
        "similarity 0.97",
        "python -m beam_jobs.preprocess --input 'my videos' 41 s",
        "pemt pretrain 3 min 05 s",
    ):
        assert expected in text, expected
    assert "bad_12.mp4" not in text


def test_empty_sections_do_not_appear():
    parsed = Page(page(Report(title="Nothing yet")))
    assert parsed.all("section") == [] and parsed.all("nav") == []
    assert parsed.text == "Nothing yet Nothing yet"  # title and heading


def test_confusion_matrix_shows_counts_and_shares_of_rows():
    matrix = ConfusionMatrix(("cat", "dog", "cow"), ((3, 1, 0), (1, 1, 0), (0, 0, 0)))
    text = page(Report(title="t", confusion=matrix))
    cells = re.findall(r"<td( [^>]*)?>(\d+|·)</td>", text.split('class="matrix"')[1].split("</table>")[0])
    assert [content for _, content in cells] == ["3", "1", "·", "1", "1", "·", "·", "·", "·"]
    assert [re.findall(r"--share:([\d.]+)", style) for style, _ in cells[:5]] == [
        ["0.750"], ["0.250"], [], ["0.500"], ["0.500"],
    ]  # fmt: skip
    assert "cat 3 of 4" in Page(text).text and "dog 1 of 2" in Page(text).text
    assert "of 0" not in Page(text).text  # no clip of that label was there


def test_many_labels_are_listed_not_tabulated():
    labels = tuple(f"label {number}" for number in range(41))
    counts = [[0] * 41 for _ in labels]
    counts[5][7], counts[5][5], counts[6][8] = 2, 1, 1
    report = Report(title="t", confusion=ConfusionMatrix(labels, tuple(map(tuple, counts))))
    parsed = Page(page(report))
    assert "matrix" not in [attributes.get("class") for attributes in parsed.all("table")]
    assert "label 5 taken for label 7: 2 label 6 taken for label 8: 1" in parsed.text


def test_wrong_prediction_names_the_truth(clip_view):
    report = Report(title="t", predictions=(ClipPrediction(clip_view(1, "cat"), (("dog", 0.6), ("cat", 0.4))),))
    assert "✗ wrong: its label is cat" in Page(page(report)).text
    unlabelled = Report(title="t", predictions=(ClipPrediction(clip_view(1), (("dog", 0.6),)),))
    assert "✗" not in page(unlabelled) and "✓" not in page(unlabelled)


def test_frames_are_the_given_bytes(clip_view):
    clip = clip_view(3, "cat")
    sources = [attributes["src"] for attributes in Page(page(Report(title="t", clips=(clip,)))).all("img")]
    jpegs = [base64.b64decode(s.removeprefix("data:image/jpeg;base64,")) for s in sources if "image/jpeg" in s]
    assert jpegs == [jpeg for segment in clip.frames for jpeg in segment]
    assert simplejpeg.decode_jpeg(jpegs[0]).shape == (16, 20, 3)
    assert sum("image/png" in source for source in sources) == 4


def test_write_report_replaces_the_file_and_leaves_nothing_else(tmp_path, sample_report):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(path, sample_report()) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n<html lang=")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_unwritable_place_is_one_clear_sentence(tmp_path):
    with pytest.raises(PemtError, match=r"cannot write .*missing/report.html: No such file or directory"):
        write_report(tmp_path / "missing" / "report.html", Report(title="t"))


def test_impossible_figures_are_refused():
    with pytest.raises(ValueError, match="3 inputs, but 2 accounted for"):
        Preprocessing(3, 2)
    with pytest.raises(ValueError, match=r"expected 0 <= 0.5 <= 0.4"):
        Accuracy("a", 0.4, 0.5, 0.6)
    with pytest.raises(ValueError, match="2 labels need 2 rows of 2 counts"):
        ConfusionMatrix(("a", "b"), ((1, 2),))
