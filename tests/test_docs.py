"""docs/architecture.md and its figure keep their promises: names, shapes and parameter counts are those of the code."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from pemt_tf.config import FUSION, SHARING, Config
from pemt_tf.config.allowed_values import ROTATION_STORAGE
from pemt_tf.convert.reference_slots import reference_slots
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.parameter_report import parameter_report
from pemt_tf.models.without_values import without_values

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FIGURE = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
QUOTED = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S)))
CLASSES = 32
RELEASED = Config.from_preset("avbert_base").model
# Where only Transformers are counted, the CNNs do not matter and are kept small.
SMALL = dataclasses.replace(RELEASED, visual_depth=18, audio_depth=18, visual_width=1, audio_width=1)


def table(first_column: str) -> list[list[str]]:
    """Cells of the one table whose first column has this title, without its two head lines."""
    blocks = re.findall(r"(?:^\|.*\n)+", TEXT, re.M)
    (lines,) = [block.splitlines() for block in blocks if block.startswith(f"| {first_column} |")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def numbers(text: str) -> set[int]:
    """All numbers that are written with a comma, but for negative ones: parameter counts."""
    return {number(found) for found in re.findall(r"(?<![-\d,])\d{1,3}(?:,\d{3})+(?![\d,])", text)}


def count(variables) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def built(kind, *arguments) -> keras.Model:
    """A model whose variables have a shape but no values: it takes no memory."""

    def build():
        model = kind(*arguments)
        model.build()
        return model

    return without_values(build)


def distinct_transformers(model: AVTransformer) -> list:
    return list({id(transformer): transformer for transformer in model.transformers.values()}.values())


@pytest.fixture(scope="module")
def classifier():
    return built(AVClassifier, RELEASED, CLASSES)


# Parameter counts


def test_parts_are_those_of_the_report():
    report = parameter_report(RELEASED)
    stated = {part: (number(parameters), shared) for part, parameters, shared in table("part")}
    assert stated.pop("total") == (report.total, "")
    assert stated == {row.part: (row.parameters, row.shared_by) for row in report.rows}
    assert report.summary in TEXT


def test_counts_with_heads(classifier):
    counts = [count(part.weights) for part in (classifier.clip_head, classifier.sequence_head)]
    counts.append(count(classifier.trainable_weights))
    sentence = re.search(r"With the heads for 32 classes.*?\n\n", TEXT, re.S)[0]
    assert numbers(sentence) == set(counts)


def test_storage_of_rotations():
    stated = {storage.strip("`"): cells for storage, *cells in table("storage")}
    assert set(stated) == set(ROTATION_STORAGE)
    for storage, (rotations, everything, _) in stated.items():
        model = built(AVTransformer, dataclasses.replace(SMALL, rotation_storage=storage))
        (transformer,) = distinct_transformers(model)
        assert number(everything) == count(transformer.weights)
        assert number(rotations) == count(w for w in transformer.weights if w.name.endswith("_rotation"))
    triangle = parameter_report(dataclasses.replace(SMALL, rotation_storage="strict_triangle"))
    change = re.search(r"-[\d.]+ %", triangle.summary)[0]
    assert change in stated["strict_triangle"][2]


def test_settings_of_sharing():
    rows = {sharing.strip("`"): cells for sharing, *cells in table("sharing")}
    assert list(rows) == list(SHARING)
    for sharing, (layers, streams, low_rank, stored, parameters) in rows.items():
        config = dataclasses.replace(SMALL, sharing=sharing)
        transformers = distinct_transformers(built(AVTransformer, config))
        assert tuple(answer == "yes" for answer in (layers, streams, low_rank)) == SHARING[sharing]
        assert stored == f"{len(transformers)} x {len(transformers[0].blocks)}"
        assert number(parameters) == parameter_report(config).transformer


def test_settings_of_fusion():
    rows = {fusion.strip("`"): cells for fusion, *cells in table("fusion")}
    assert list(rows) == list(FUSION)
    for fusion, (streams, outputs, parameters) in rows.items():
        config = dataclasses.replace(SMALL, fusion=fusion)
        model = built(AVClassifier, config, CLASSES)
        assert set(re.findall("visual|audio|joint", streams)) == set(model.backbone.transformers)
        assert ("both heads" in outputs) == (model.sequence_head is not None)
        assert number(parameters) == parameter_report(config).transformer


def test_no_other_counts_are_stated():
    tables = {"part": 1, "storage": 2, "sharing": -1, "fusion": -1}
    checked = {number(row[column]) for title, column in tables.items() for row in table(title)}
    checked |= {number(row[1]) for row in table("storage")}
    checked |= numbers(re.search(r"With the heads for 32 classes.*?\n\n", TEXT, re.S)[0])
    checked |= numbers(parameter_report(SMALL).summary)
    assert numbers(TEXT) <= checked
    # A third of a row of the storage table: the rotations of one stream.
    per_stream = {number(row[1]) // 3 for row in table("storage")}
    assert numbers(re.sub(r"<[^>]*>", " ", FIGURE)) <= checked | per_stream


# Shapes


def test_shapes(classifier):
    backbone, geometry, batch = classifier.backbone, Config.from_preset("avbert_base").geometry, 2
    crop, segments = geometry.train_crop, geometry.segments

    def trace(frames, log_mel):
        sequence = backbone.summaries["visual"](
            backbone.tokenize({"visual": tf.zeros((batch, segments, 2048))})["visual"]
        )
        return {
            **classifier({"frames": frames, "log_mel": log_mel}),
            "frames, normalized": frames,
            "log-mel spectrogram": log_mel,
            "visual maps": backbone.cnns["visual"].feature_maps(tf.reshape(frames, (-1, *frames.shape[2:]))),
            "audio maps": backbone.cnns["audio"].feature_maps(tf.reshape(log_mel, (-1, *log_mel.shape[2:]))),
            "with the summary token in front": sequence,
            "with positions, LayerNorm, dropout": backbone.embeddings["visual"](sequence),
        }

    frames = tf.TensorSpec((batch, segments, geometry.frames_per_segment, crop, crop, 3))
    log_mel = tf.TensorSpec((batch, segments, geometry.mel_bins, geometry.mel_frames, 1))
    traced = without_values(lambda: tf.function(trace).get_concrete_function(frames, log_mel).structured_outputs)
    for modality in ("visual", "audio"):
        stem, *stages = traced.pop(f"{modality} maps")
        traced |= {f"{modality} CNN": stem, **{f"{modality} stage {i}": x for i, x in enumerate(stages, 2)}}
    traced |= {f"logits, {head}": logits for head, logits in traced.pop("logits").items()}
    stated = {}
    for label, shape, _ in table("what"):
        sides = tuple(int(side.replace("10 B", "20").replace("B", "2")) for side in shape.strip("[]").split(","))
        label = re.sub("[*`]", "", label).partition(":")[0]
        stated |= dict.fromkeys([label] if label in traced else label.split(", "), sides)
    assert stated == {name: tuple(tensor.shape) for name, tensor in traced.items()}


def test_shapes_of_the_figure_are_those_of_the_text():
    shapes = set(re.findall(r"\[B, [\d, ]+\]", FIGURE))
    assert len(shapes) >= 8
    assert shapes <= {row[1] for row in table("what")}


# Names


def test_files_exist():
    paths = {quoted for quoted in QUOTED if "/" in quoted}
    paths |= {f"docs/{target}" for target in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    assert "pemt_tf/layers/low_rank_shared_dense.py" in paths
    for path in paths:
        assert (ROOT / path).exists(), f"docs/architecture.md names {path}"


def test_dotted_names_can_be_imported():
    names = {name for name in re.findall(r"\bpemt_tf(?:\.\w+)+", TEXT) if not (ROOT / name).exists()}
    assert len(names) >= 5
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), f"docs/architecture.md names {name}"


def test_classes_and_attributes_exist(classifier):
    modules = [path[:-3].replace("/", ".") for path in QUOTED if re.fullmatch(r"pemt_tf/[\w/]+\.py", path)]
    modules.append("pemt_tf.convert.checkpoint_converter")
    known = {name: value for module in modules for name, value in vars(importlib.import_module(module)).items()}
    for quoted in QUOTED:
        if found := re.fullmatch(r"([A-Z]\w+)(?:\.(\w+)(?:\(\))?)?", quoted):
            assert found[1] in known, f"docs/architecture.md names {quoted}"
            assert found[2] is None or hasattr(known[found[1]], found[2]), f"docs/architecture.md names {quoted}"
        if found := re.fullmatch(r"model\.(\w+)", quoted):
            assert hasattr(classifier.backbone, found[1]) or hasattr(RELEASED, found[1]), quoted


def test_names_of_the_authors_are_in_the_table():
    names = set()
    for sharing in ("low_rank", "low_rank_unshared"):
        model = built(AVClassifier, dataclasses.replace(SMALL, sharing=sharing), CLASSES)
        names |= {name for slot in reference_slots(model) for name in slot.names}
    stated = [name for authors, _ in table("authors") for name in re.findall(r"`([^`]+)`", authors)]
    assert len(stated) > 20
    for name in stated:
        pattern = re.sub(r"\\\{\w\\\}", r"\\d", re.escape(name))
        assert any(re.search(rf"(?:^|\.){pattern}", each) for each in names), name


def test_python_of_the_text_runs():
    (code,) = PYTHON
    values: dict = {}
    exec(code, values)
    assert set(values["table"]) == set(values["weights"]) == set(values["report"].assigned)
    assert not values["report"].missing
    assert not values["report"].left_over


# The figure


def svg_texts() -> list[tuple[str, float, float, float, float]]:
    """Every text with its left, right, top and bottom, wide enough for any common sans-serif font."""
    root = ElementTree.fromstring(FIGURE)
    space = "{http://www.w3.org/2000/svg}"
    rules = dict(re.findall(r"\.?(\w+) \{([^}]*)\}", root.find(f"{space}style").text))
    texts = []
    for element in root.iter(f"{space}text"):
        words = "".join(element.itertext())
        labels = (element.get("class") or "").split()
        sizes = [re.search(r"font-size: (\d+)px", rules[label]) for label in (*labels, "text")]
        size = next(float(found[1]) for found in sizes if found)
        width = 0.65 * size * len(words)
        x, y = float(element.get("x")), float(element.get("y"))
        left = x - width * (0.5 if "middle" in labels else 1.0 if "end" in labels else 0.0)
        texts.append((words, left, left + width, y - size, y + 0.3 * size))
    return texts


def test_figure_says_what_it_shows():
    root = ElementTree.fromstring(FIGURE)
    by_id = {element.get("id"): element.text for element in root.iter() if element.get("id")}
    assert root.get("role") == "img"
    for label in root.get("aria-labelledby").split():
        assert len(by_id[label]) > 30
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert root.find("{http://www.w3.org/2000/svg}desc") is not None


def test_texts_of_the_figure_are_inside_and_apart():
    left, top, width, height = map(float, ElementTree.fromstring(FIGURE).get("viewBox").split())
    texts = svg_texts()
    assert len(texts) > 50
    for words, x_low, x_high, y_low, y_high in texts:
        assert left <= x_low, words
        assert x_high <= left + width, words
        assert top <= y_low, words
        assert y_high <= top + height, words
    # Lines above each other may touch in this generous estimate; baselines of neighbours may not.
    for index, (words, x_low, x_high, _, base) in enumerate(texts):
        for others, other_low, other_high, _, other_base in texts[index + 1 :]:
            apart = x_high <= other_low or other_high <= x_low or abs(base - other_base) >= 10
            assert apart, f"{words!r} and {others!r}"


def test_figure_needs_nothing_else():
    root = ElementTree.fromstring(FIGURE)
    used = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not used & {"script", "image", "foreignObject", "use"}
    assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)", FIGURE.replace("url(#arrow)", ""))
