"""`pemt pipeline init`: a copy of the pipeline's template, which is the folder `pipeline/` of our repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from pemt_tf.errors import PemtError

PACKAGE = "pipeline"


def template_folder() -> Path:
    """The template: beside this module in an installed wheel, the folder `pipeline/` in a checkout."""
    installed = Path(__file__).with_name("template")
    return installed if installed.is_dir() else Path(__file__).parents[2] / PACKAGE


def copy_template(folder: Path) -> Path:
    """Copies the template to `folder/pipeline` and returns that path.

    Raises:
        PemtError: `folder/pipeline` exists, or cannot be written.
    """
    target = folder / PACKAGE
    if target.exists() or target.is_symlink():
        raise PemtError(f"{target} exists and is left as it is; name another folder, or move it away")
    try:
        shutil.copytree(template_folder(), target, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise PemtError(f"cannot write {target}: {error.strerror or error}") from None
    return target
