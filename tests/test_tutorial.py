"""docs/tutorial.md, run as it stands: every block of shell in one folder, and what the page says that they print."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pemt_tf.config import Config

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- not run by the tests: ([\w-]+) -->\n)?```sh\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.S)
# Goes on where the block before it was: the same folder, the same variables.
SHELL = 'set -euo pipefail; cd "$FOLDER"; source "$STATE"; {block}\nexport -p > "$STATE"; pwd > "$STATE.folder"'


@dataclass(frozen=True)
class Block:
    """Shell of the page.

    Attributes:
        left_out: why the tests do not run it, or an empty text.
        shell: its lines.
        printed: what the page says that they print.
    """

    left_out: str
    shell: str
    printed: str


BLOCKS = [Block(*(text or "" for text in found)) for found in BLOCK.findall(PAGE)]
LEFT_OUT = {block.left_out: block for block in BLOCKS if block.left_out}


def pattern(printed: str) -> re.Pattern:
    """Three dots are anything: alone on a line any lines, else the rest of a word or line."""
    lines = []
    for line in printed.splitlines():
        lines.append(r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n")
    return re.compile("".join(lines))


class Shell:
    """Runs blocks one after the other, as if in one terminal."""

    def __init__(self, folder: Path):
        self.state = folder / "state"
        self.folder = folder / "work"
        self.folder.mkdir()
        self.state.touch()

    def run(self, block: str, **variables: str) -> str:
        """Returns what was printed; fails with what was said, if a command fails."""
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {**os.environ, "PATH": programs, "STATE": str(self.state), "FOLDER": str(self.folder), **variables}
        done = subprocess.run(
            ["bash", "-c", SHELL.format(block=block)],
            env=inherited,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # what people see: lines of progress too
            text=True,
        )
        assert done.returncode == 0, f"{block}\nsays\n{done.stdout}"
        self.folder = Path((self.state.parent / "state.folder").read_text().strip())
        return done.stdout


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The whole page: its working folder, and what each block printed."""
    from tests.client.model_server import grpc_server, of_saved_model

    shell, printed = Shell(tmp_path_factory.mktemp("tutorial")), []
    for block in BLOCKS:
        if block.left_out:
            printed.append("")
        elif "--server" in block.shell:
            with grpc_server(of_saved_model(shell.folder / "servable" / "1")) as address:
                printed.append(shell.run(block.shell, SERVER=address))
        else:
            printed.append(shell.run(block.shell))
    return shell.folder, printed


# Without running anything


def test_two_blocks_are_left_out_and_say_why():
    assert set(LEFT_OUT) == {"set-up", "Docker"}
    assert PAGE.count("```sh") == len(BLOCKS) >= 12
    assert PAGE.count("```text") == sum(bool(block.printed) for block in BLOCKS)


def test_set_up_is_what_the_makefile_has():
    make, activate = LEFT_OUT["set-up"].shell.splitlines()
    makefile = (ROOT / "Makefile").read_text()
    assert f"\n{make.removeprefix('make ')}:" in makefile
    assert "BIN := .venv/bin\n" in makefile and activate == "source .venv/bin/activate"


def test_image_and_ports_are_those_of_the_compose_file():
    service = yaml.safe_load((ROOT / "serving" / "docker-compose.yaml").read_text())["services"]["serving"]
    run, server = LEFT_OUT["Docker"].shell.splitlines()
    assert run.split()[-1] == re.search(r":-(.*)\}", service["image"])[1]
    assert re.findall(r"-p (\S+)", run) == service["ports"]
    assert ":/models/pemt:ro" in run and "MODEL_NAME=pemt" in run
    assert server == f"export SERVER=localhost:{service['ports'][0].split(':')[1]}"


def test_configuration_of_the_page_can_be_loaded(tmp_path):
    (text,) = re.findall(r"cat > tutorial.yaml <<'END'\n(.*?)^END$", PAGE, re.S | re.M)
    (tmp_path / "tutorial.yaml").write_text(text)
    config = Config.from_preset(str(tmp_path / "tutorial.yaml"))
    assert config.geometry.segment_seconds == 0.5 and "3 segments of 0.5 s" in text
    assert config.pretrain.steps == config.finetune.steps == 10


def test_links_lead_to_pages():
    for page, _, place in re.findall(r"\]\(([^)#:]+)(#([^)]*))?\)", PAGE):
        assert (ROOT / "docs" / page).exists(), page
        if place:
            assert f"## {place.capitalize()}" in (ROOT / "docs" / page).read_text(), place


def test_dots_are_anything_and_nothing_else_is():
    assert pattern("a ... b\n...\nend\n").search("a 12 s b\nx\ny\nend\n")
    assert pattern("...\nend\n").search("end\n")
    assert not pattern("a ...\nend\n").search("a 1\nother\nend\n")
    assert not pattern("1 + 1\n").search("1 + 2\n")


# After running the page


@pytest.mark.slow
def test_every_block_prints_what_the_page_says(walk):
    for block, printed in zip(BLOCKS, walk[1], strict=True):
        if block.printed:
            assert pattern(block.printed).search(printed), f"{block.shell}\nprinted\n{printed}\nnot\n{block.printed}"


@pytest.mark.slow
def test_server_answers_as_the_model_here(walk):
    """Probabilities in text are rounded to a tenth of a percent."""
    here, served = (
        next(p for b, p in zip(BLOCKS, walk[1], strict=True) if f in b.shell)
        for f in ("--model servable\n", "--server")
    )
    best = {row["label"]: row["probability"] for row in json.loads(served.splitlines()[-1])["predictions"]}
    said = dict(re.findall(r"(\w+) ([\d.]+)%", here.splitlines()[-1].rpartition(": ")[2]))
    assert said.keys() == best.keys() and len(best) == 3
    for label, percent in said.items():
        assert abs(float(percent) / 100 - best[label]) < 0.0006


@pytest.mark.slow
def test_what_the_page_names_is_there(walk):
    folder = walk[0]
    assert folder.parts[-2:] == ("out", "tutorial")
    for name in ("records/report.html", "records/duplicates.jsonl", "pretrained/tensorboard", "finetuned/report.html"):
        assert (folder / name).exists(), name
    assert not (folder / "records" / "errors" / "failures.jsonl").read_text().strip()
    pair = json.loads((folder / "records" / "duplicates.jsonl").read_text().splitlines()[0])
    assert {"train/seven/0024.mp4", "train/unlabelled/broken.mp4"} <= set(map(str, pair.values()))
    with (folder / "videos.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 42
