"""Which folders become packages, and what Beam's `--setup_file` asks for; pyproject.toml has all else."""

from setuptools import find_packages, setup

setup(
    # pipeline/ is what `pemt pipeline init` copies: a part of pemt_tf, not a package of its own.
    packages=[*find_packages(include=["pemt_tf*", "beam_jobs*"]), "pemt_tf.orchestration.template"],
    package_dir={"pemt_tf.orchestration.template": "pipeline"},
)
