"""What the documentation site adds to the pages of docs/: the project's own pages, links that leave docs/, `--help`."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from beam_jobs import convert, embed, flink, preprocess
from beam_jobs.datasets import __main__ as datasets
from pemt_tf import cli

ROOT = Path(__file__).resolve().parents[1]
PROJECT_PAGES = ("BUILD.md", "CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages at the top of the repository, as `project/NAME`."""
    for name in PROJECT_PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"project/{name}", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adapts links outside of code, and puts the commands' help in the place of `<!-- help -->`."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    parts[::2] = [_with_site_links(part, page.file.src_uri, config.repo_url) for part in parts[::2]]
    return "".join(part.replace("<!-- help -->", _help()) if "<!-- help -->" in part else part for part in parts)


def _with_site_links(text: str, page: str, repository: str | None) -> str:
    """Links as on GitHub turned into those of the site; what the site has not, into the repository or into plain text.

    Args:
        text: Markdown.
        page: where the page is on the site.
        repository: address of the repository, if mkdocs.yml has one.
    """
    source = page.removeprefix("project/") if page.startswith("project/") else f"docs/{page}"

    def replace(link: re.Match) -> str:
        picture, label, target, anchor = link.groups(default="")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in PROJECT_PAGES:
            place = f"project/{path}"
        elif path == "README.md":
            place = "index.md"
        elif path.startswith("docs/"):
            place = path.removeprefix("docs/")
        else:
            return f"[{label}]({repository}/blob/main/{path}{anchor})" if repository else label
        return f"{picture}[{label}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(replace, text)


def _help() -> str:
    os.environ["COLUMNS"] = "86"
    (commands,) = (each for each in cli.make_parser()._actions if isinstance(each, argparse._SubParsersAction))
    jobs = (preprocess, convert, embed, flink, datasets)
    parsers = [*commands.choices.values(), *(job.build_parser() for job in jobs)]
    return "\n\n".join(f"## {parser.prog}\n\n```text\n{parser.format_help()}```" for parser in parsers)
