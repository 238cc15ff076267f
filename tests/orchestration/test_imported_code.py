"""What TFX's cache is told of code: a mended file runs again what it is a part of, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pemt_tf.orchestration.nodes import imported_code
from pemt_tf.orchestration.nodes.imported_code import code_fingerprint
from pemt_tf.orchestration.nodes.training_order import FINETUNE, PASSED_OVER, PRETRAIN

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("pemt_tf", "pipeline")
TRAINERS = "pipeline.trainer_module"


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of both packages that the fingerprint is taken of."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(imported_code, "_folder_of", lambda package: tmp_path / package)
    return tmp_path


def fingerprints() -> dict[str, str]:
    return {stage: code_fingerprint(TRAINERS, PASSED_OVER[stage]) for stage in (PRETRAIN, FINETUNE)}


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("pemt_tf/export/serving_model.py", {FINETUNE}),
        ("pemt_tf/export/signatures.py", {FINETUNE}),
        ("pemt_tf/export/record_request.py", {FINETUNE}),
        ("pemt_tf/training/mixup.py", {FINETUNE}),
        ("pemt_tf/config/training.py", {PRETRAIN, FINETUNE}),
        ("pemt_tf/layers/low_rank_shared_dense.py", {PRETRAIN, FINETUNE}),
        ("pemt_tf/data/__init__.py", {PRETRAIN, FINETUNE}),
        ("pipeline/trainer_module.py", {PRETRAIN, FINETUNE}),
        ("pipeline/configs.py", set()),
        ("pemt_tf/report/page.py", set()),
        ("pemt_tf/explore/page.py", set()),
    ],
)
def test_an_edited_file_trains_again_what_runs_it(copied, file, again):
    before = fingerprints()
    with (copied / file).open("a") as edited:
        edited.write("# mended\n")
    after = fingerprints()

    assert {stage for stage in before if after[stage] != before[stage]} == again


def test_other_files_and_packages_of_other_names_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "__init__.py").write_text("")
    (tmp_path / "birds" / "trainer.py").write_text("from birds import steps\n")
    (tmp_path / "birds" / "steps.py").write_text("import pemt_tf.errors\n")
    source = tmp_path / "loader.cc"
    source.write_text("int main() {}")

    assert set(imported_code.imported_code("birds.trainer")) == {
        "birds", "birds.trainer", "birds.steps", "pemt_tf", "pemt_tf.errors",
    }  # fmt: skip
    before = code_fingerprint("birds.trainer", files=[source])
    source.write_text("int main() { return 0; }")
    assert code_fingerprint("birds.trainer", files=[source]) != before != code_fingerprint("birds.trainer")


def test_names_of_the_public_interface_are_followed_and_hints_are_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish" / "__init__.py").write_text("")
    hints = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pemt_tf.report import page\n"
    for name, code in {
        "attribute": "import pemt_tf\nlayer = pemt_tf.LowRankSharedDense\n",
        "imported": "from pemt_tf import LowRankSharedDense\n",
        "hints": hints,
    }.items():
        (tmp_path / "fish" / f"{name}.py").write_text(code)
    layer = "pemt_tf.layers.low_rank_shared_dense"

    assert layer in imported_code.imported_code("fish.attribute")
    assert layer in imported_code.imported_code("fish.imported")
    assert set(imported_code.imported_code("fish.hints")) == {"fish", "fish.hints"}


def test_whatever_is_loaded_by_the_import_is_in_the_fingerprint():
    """Python's own list of what came with an import holds nothing of ours that the fingerprint lacks."""
    program = "import sys, pemt_tf.export.saved_model; print('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = done.stdout.split("modules: ")[1].split()
    loaded = {name for name in modules if name.split(".")[0] in PACKAGES}

    assert "pemt_tf.export.serving_model" in loaded
    assert loaded <= set(imported_code.imported_code("pemt_tf.export.saved_model"))


def test_all_ways_to_import_are_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(imported_code, "_folder_of", lambda package: tmp_path / package)
    for file, text in {
        "pemt_tf/__init__.py": "",
        "pemt_tf/a.py": "import numpy, pemt_tf.b\nfrom pemt_tf import c\nfrom pemt_tf.room.d import NAME\n",
        "pemt_tf/b.py": "def later():\n    from pemt_tf.e import thing\n",
        "pemt_tf/c.py": "import pemt_tf.a\n",
        "pemt_tf/e.py": "",
        "pemt_tf/unused.py": "",
        "pemt_tf/room/__init__.py": "",
        "pemt_tf/room/d.py": "from . import f\nfrom .f import NAME\nfrom ..g import NAME\n",
        "pemt_tf/room/f.py": "",
        "pemt_tf/g.py": "NAME = 1\n",
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    found = imported_code.imported_code("pemt_tf.a")

    inner = {"a", "b", "c", "e", "g", "room", "room.d", "room.f"}
    assert set(found) == {"pemt_tf", *(f"pemt_tf.{name}" for name in inner)}
    assert set(imported_code.imported_code("pemt_tf.a", ["pemt_tf.room.d"])) == set(found) - {
        "pemt_tf.room", "pemt_tf.room.d", "pemt_tf.room.f", "pemt_tf.g",
    }  # fmt: skip
