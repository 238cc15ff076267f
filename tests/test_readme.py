"""The README keeps its promises: its Python runs, its commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pemt_tf import cli
from pemt_tf.config import preset_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_of_the_readme_runs_and_shows_what_it_says():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    values: dict = {}
    exec(code, values)
    assert values["shared"] == ((128, 768), (768,))
    assert values["own"] == dict.fromkeys(("visual", "audio", "joint"), (768, 128))
    assert values["seen"].shape == values["heard"].shape == (2, 10, 768)


@pytest.mark.parametrize("document", ["README.md", "BUILD.md"])
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), f"{document} links to {target}"


def test_commands_of_the_readme_exist(capsys):
    named = set(re.findall(r"^pemt (\w+)", README, re.M))
    assert {"pretrain", "finetune", "evaluate", "export", "predict", "search"} <= named
    for command in named:
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
        assert "example:" in capsys.readouterr().out


def test_readme_has_one_place_for_results_and_is_short():
    assert README.count("<!-- begin results -->") == README.count("<!-- end results -->") == 1
    before, _, rest = README.partition("<!-- begin results -->")
    own = before + rest.partition("<!-- end results -->")[2]
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"```.*?```|\(.*?\)", "", own, flags=re.S))
    assert len(words) < 900, "it should be read in three minutes"


def test_the_results_in_the_readme_are_those_of_the_results_page():
    """Rows and columns of the table are the page's rows without noise, in the same order."""
    page = (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| none \| (audio only|frames only|both) \| \d+ \| ([\d.]+)%.*? \| ([\d.]+)% ", page, re.M)
    table = README.partition("<!-- begin results -->")[2].partition("<!-- end results -->")[0]
    shown = re.findall(r"([\d.]+) %\*{0,2} \(([\d.]+)\)", table)
    assert len(shown) == 9 and shown == [(ours, scratch) for _, ours, scratch in rows]


def test_readme_leads_to_every_page():
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}  # where the site begins
    assert {"tutorial.md", "faq.md"} <= pages
    for page in pages:
        assert f"(docs/{page})" in README, f"README.md does not lead to docs/{page}"


def test_presets_of_the_readme_are_those_that_ship():
    assert set(re.findall(r"^\| `(\w+)` \| \d+ segments", README, re.M)) == set(preset_names())


def test_layout_of_build_md_names_every_folder_and_only_real_ones():
    tree = re.search(r"```\n(.*?)```", (ROOT / "BUILD.md").read_text(encoding="utf-8"), re.S).group(1)
    named = {match.strip() for match in re.findall(r"^ {0,4}(\w[\w.]*)/ ", tree, re.M)}
    packages = {
        p.parent.relative_to(ROOT) for top in ("pemt_tf", "beam_jobs") for p in ROOT.glob(f"{top}/**/__init__.py")
    }
    packages |= {p.parent.relative_to(ROOT) for p in ROOT.glob("*/__init__.py")}
    for package in packages:
        assert package.name in named, f"BUILD.md does not name {package}"
    for name in named:
        assert any((ROOT / top / name).is_dir() for top in ("", "pemt_tf", "beam_jobs", "pemt_tf/orchestration")), (
            f"BUILD.md names {name}"
        )
    for file in re.findall(r"\b(\w+\.py)\b", tree):
        assert any(list((ROOT / top).rglob(file)) for top in named if (ROOT / top).is_dir()), f"BUILD.md names {file}"
