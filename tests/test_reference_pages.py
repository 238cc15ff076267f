"""Citations of docs/reference_model.md and docs/pretraining_objectives.md name sections that these pages have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("pemt_tf", "beam_jobs", "pipeline", "experiments", "benchmarks", "tests")
# "PAGE section 2", "PAGE sections 4 to 6", "PAGE sections 7, 8 and 12"
CITATION = r"{page}\s+sections?\s+(\d+(?:(?:,| to| and|, and)\s+\d+)*)"


def cited_sections(page: str) -> dict[int, str]:
    """A file that cites it, for each section of the page that any file cites."""
    cited = {}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for match in re.finditer(CITATION.format(page=re.escape(page)), path.read_text(encoding="utf-8")):
            cited |= dict.fromkeys(map(int, re.findall(r"\d+", match[1])), str(path.relative_to(ROOT)))
    return cited


@pytest.mark.parametrize(("page", "sections"), [("docs/reference_model.md", 16), ("docs/pretraining_objectives.md", 8)])
def test_cited_sections_exist(page, sections):
    text = (ROOT / page).read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", text, re.M)]
    assert numbers == list(range(1, sections + 1))
    cited = cited_sections(page)
    assert len(cited) >= 4
    for number, path in cited.items():
        assert number in numbers, f"{path} cites section {number} of {page}"
