"""Checkpoints: every variable of a run in one NumPy archive, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from keras import ops

from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import whole_file

_NAME = re.compile(r"step-(\d{9})\.npz")
_NOTES = "notes"


class Checkpoints:
    """A folder of checkpoints, the newest `keep` of which are kept; without `writes`, another machine saves them.

    The archive holds the variables in their order, because Keras numbers the names of unnamed ones anew in every
    process; shapes are checked on restoring. Weights, optimizer slots, step count and random state are all variables.
    Beside them it holds notes: a few named numbers of the training loop.
    """

    def __init__(self, directory: Path, keep: int, writes: bool = True):
        self.directory, self.keep, self.writes = directory, keep, writes

    def steps(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        if not self.directory.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def save(self, step: int, variables: list, notes: dict[str, Any] | None = None) -> Path:
        """Writes the variables, always in the same order, and deletes older checkpoints once this is safely on disk."""
        path = self._path(step)
        if not self.writes:
            return path
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial, partial.open("wb") as file:
                _write_archive(file, variables, notes or {})
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise PemtError(
                f"cannot write checkpoint {path}: {error.strerror}; earlier checkpoints are intact, free some space "
                "and run the same command to continue"
            ) from None
        for old in self.steps()[: -self.keep]:
            self._path(old).unlink(missing_ok=True)
        return path

    def restore(self, variables: list) -> tuple[int, dict[str, Any]]:
        """Loads the newest checkpoint into the variables; returns its step and notes, 0 and {} if there is none."""
        steps = self.steps()
        if not steps:
            return 0, {}
        path = self._path(steps[-1])
        try:
            with np.load(path) as archive:
                notes = json.loads(str(archive[_NOTES]))
                arrays = [archive[name] for name in sorted(archive.files) if name != _NOTES]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise PemtError(
                f"checkpoint {path} is damaged ({error}); delete it and run the same command to continue from the one "
                "before"
            ) from None
        shapes, expected = [a.shape for a in arrays], [tuple(v.shape) for v in variables]
        if shapes != expected:
            raise PemtError(
                f"{path} does not fit this model ({len(shapes)} arrays, {len(expected)} variables or other shapes); "
                "use another --output, or the configuration of the run"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return steps[-1], notes

    def _path(self, step: int) -> Path:
        return self.directory / checkpoint_name(step)


def checkpoint_name(step: int) -> str:
    """File name of the checkpoint after a step."""
    return f"step-{step:09d}.npz"


def _write_archive(file: IO[bytes], variables: list, notes: dict[str, Any]) -> None:
    """As numpy.savez, with one variable in memory at a time; savez leaves its archive open when a write fails."""
    arrays = {f"{index:05d}": variable for index, variable in enumerate(variables)}
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in {**arrays, _NOTES: np.array(json.dumps(notes))}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(ops.convert_to_numpy(value)), allow_pickle=False)
