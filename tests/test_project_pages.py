"""CONTRIBUTING.md, CHANGELOG.md, the template of model cards and the table of failures: what they name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from beam_jobs import preprocess
from beam_jobs.finish import dataset_index
from beam_jobs.inputs import manifest
from pemt_tf import cli
from pemt_tf.config import preset_names
from pemt_tf.media.media_errors import CAUSES
from tests.report.test_model_card import FIELDS

ROOT = Path(__file__).resolve().parents[1]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


CONTRIBUTING, CHANGELOG = page("CONTRIBUTING.md"), page("CHANGELOG.md")
TEMPLATE = page("docs/model_card_template.md")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEMPLATE, re.M | re.S))


def test_contributing_names_files_that_are_there():
    paths = set(re.findall(r"`((?:pemt_tf|beam_jobs|tests|docs)/[\w/.]*)`", CONTRIBUTING))
    paths |= set(re.findall(r"\]\(([^)#:]+)", CONTRIBUTING)) | set(re.findall(r"pytest (\S+)", CONTRIBUTING))
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / path).exists(), path


def test_contributing_names_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)", CONTRIBUTING))
    assert {"setup", "test", "test-slow", "lint", "lock"} <= named <= targets
    assert (ROOT / ".ci" / "run").exists()


def test_workflows_make_targets_of_the_makefile_with_pinned_actions():
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.M))
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    text = "".join(path.read_text(encoding="utf-8") for path in workflows)
    named = re.findall(r"run: make ([a-z-]+)", text)
    assert {"lint", "test", "test-slow", "demo", "docs", "wheel"} == set(named) <= targets
    assert set(re.findall(r"^make ([a-z-]+)", page(".ci/run"), re.M)) <= targets
    actions = re.findall(r"uses: (\S+)", text)
    assert len(actions) > 8 and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions), actions
    for path in workflows:
        jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
        assert all("timeout-minutes" in job for job in jobs.values()), path.name


def test_change_log_keeps_the_form():
    titles = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", CHANGELOG, re.M)
    assert titles[0] == "Unreleased" and len(re.findall("^## ", CHANGELOG, re.M)) == len(titles)
    kinds = re.findall(r"^### (.*)$", CHANGELOG, re.M)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for line in CHANGELOG.splitlines():
        assert not line or line.startswith(("#", "- ", "  ", "[")) or line in CHANGELOG.partition("## ")[0], line


def test_change_log_names_every_command_and_preset():
    for command in cli.COMMANDS:
        name = command.__name__.rpartition(".")[2]
        if name not in ("params", "demo"):
            assert f"`pemt {name.replace('_', '-')}`" in CHANGELOG, name
    for preset in preset_names():
        assert f"`{preset}`" in CHANGELOG, preset


def test_template_has_the_fields_of_the_card_that_the_report_writes():
    """`FIELDS` is what tests/report/test_model_card.py finds in the card of a run."""
    assert list(SECTIONS) == FIELDS


@pytest.mark.parametrize("field", FIELDS[:-1])
def test_each_field_of_the_template_leaves_something_to_people(field):
    assert re.search(r"^- \w", SECTIONS[field], re.M), field


def test_causes_of_failure_are_those_of_the_page():
    table = page("docs/data_format.md").partition("\n## Failures\n")[2].partition("\n\nDecoding runs")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert named == list(CAUSES)


def test_columns_of_the_index_are_those_of_the_page():
    table = page("docs/data_format.md").partition("\n`index.parquet` is")[2].partition("\n### A record")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(dataset_index.SCHEMA.names)


def test_manifest_of_the_page_means_what_the_page_says(tmp_path):
    (text,) = re.findall(r"```\n(path,labels,.*?)```", page("docs/data_format.md"), re.S)
    (tmp_path / "videos.csv").write_text(text)
    for name in ("farm/monday.mp4", "yard.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    clips = manifest.read_manifest(str(tmp_path / "videos.csv")).clips
    assert [(c.labels, c.start, c.end, c.split, c.extra) for c in clips] == [
        (("cow",), 0.0, 8.5, "train", (("camera", "north"),)),
        (("dog", "cow"), 31.0, 40.0, "train", (("camera", "north"),)),
        ((), None, None, None, (("camera", "south"),)),
    ]


@pytest.mark.parametrize("name", ["data_format", "dataflow"])
def test_jobs_of_the_page_have_flags_that_there_are(name):
    """What our parser does not know must be Beam's own."""
    text = page(f"docs/{name}.md").replace("\\\n", " ")
    jobs = re.findall(r"^python -m beam_jobs.preprocess (.*)$", text, re.M)
    jobs += re.findall(r"`python -m beam_jobs.preprocess (.*?)`", text)
    assert jobs
    beams = {
        *("--project", "--region", "--temp_location", "--staging_location", "--sdk_container_image", "--machine_type"),
        *("--disk_size_gb", "--max_num_workers", "--number_of_worker_harness_threads", "--service_account_email"),
        *("--no_use_public_ips", "--experiments=no_use_multiple_sdk_containers"),
    }
    for job in jobs:
        _, rest = preprocess.build_parser().parse_known_args(shlex.split(job))
        assert {word for word in rest if word.startswith("--")} <= beams, rest
