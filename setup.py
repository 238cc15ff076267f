"""Beam's `--setup_file`, and so Dataflow, takes a setup.py; what the package is stands in pyproject.toml."""

from setuptools import setup

setup()
