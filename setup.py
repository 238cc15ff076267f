"""Which folders become packages, the text of the package index, and what Beam's `--setup_file` asks for.

pyproject.toml has all else.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup


def long_description() -> str:
    """The README for a package index, where its files are not: links to them become text, the figure goes."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    figure_and_caption = r"\[!\[[^]]*\]\([^)]*\)\]\([^)]*\)\n\n\*.*?\*\n\n"
    text = re.sub(figure_and_caption, "", text, flags=re.S)
    return re.sub(r"\[([^]]+)\]\((?!https?://)[^)\s]+\)", r"\1", text)


setup(
    long_description=long_description(),
    long_description_content_type="text/markdown",
    # pipeline/ is what `pemt pipeline init` copies: a part of pemt_tf, not a package of its own.
    packages=[*find_packages(include=["pemt_tf*", "beam_jobs*"]), "pemt_tf.orchestration.template"],
    package_dir={"pemt_tf.orchestration.template": "pipeline"},
)
