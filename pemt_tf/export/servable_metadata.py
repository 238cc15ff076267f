"""How a SavedModel describes itself: in a file beside it, and through its signature `metadata`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pemt_tf
from pemt_tf.config import Config
from pemt_tf.config.training import PREDICTIONS
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text

METADATA = "assets.extra/pemt.json"


@dataclass(frozen=True)
class ServableMetadata:
    """A SavedModel's description of itself."""

    config: Config  # of the model and its training
    labels: tuple[str, ...]  # in the order of the prediction; empty without a classifier
    run: str = ""  # folder of the training run that it was exported from
    data_hash: str = ""  # of that run's data set
    release: str = pemt_tf.__version__  # of this package
    version: int = 0  # number of the version's folder; 0 if it has none
    weights: str = "float32"  # how they are stored: `float32`, `float16` or `int8`

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the outputs depend on: a classifier may use only some of its model's."""
        streams, all_of_model = self.config.finetune.streams, self.config.model.modalities
        return tuple(m for m in all_of_model if not (self.labels and streams) or m in streams)

    @property
    def prediction(self) -> str | None:
        """The output with the prediction: `probabilities`, `scores` with several labels; None without a classifier."""
        return PREDICTIONS[self.config.finetune.labels] if self.labels else None

    def write(self, directory: Path) -> None:
        """Writes `assets.extra/pemt.json` into a SavedModel."""
        path = directory / METADATA
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json_text(self._values(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> ServableMetadata:
        """Reads `assets.extra/pemt.json`; raises PemtError if `pemt export` did not write it, or it is damaged."""
        path = directory / METADATA
        if not path.is_file():
            raise PemtError(f"{directory} is not a model exported by `pemt export`: it has no {METADATA}")
        try:
            return cls._from_values(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PemtError(f"{path} is damaged ({error}); export the model again") from None

    def served_fields(self) -> dict[str, str]:
        """The outputs of the signature `metadata`, field to JSON: `all` for `from_served`, the others for people."""
        values = {**self._values(), "run": Path(self.run).name}  # without its path
        single = {name: values[name] for name in ("labels", "version", "weights", "release", "run", "data_hash")}
        single |= {"prediction": self.prediction, "name": self.config.name, "geometry": values["config"]["geometry"]}
        single["modalities"] = self.modalities
        # ASCII only: error messages of TF Serving escape other characters in a way that JSON does not allow.
        return {name: json.dumps(value) for name, value in {**single, "all": values}.items()}

    @classmethod
    def from_served(cls, text: str) -> ServableMetadata:
        """Reads the field `all`."""
        try:
            return cls._from_values(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise PemtError(f"the server describes its model in a way that this release cannot read: {error}") from None

    def _values(self) -> dict[str, Any]:
        return {**vars(self), "config": self.config.to_dict(), "labels": list(self.labels)}

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> ServableMetadata:
        return cls(**{**values, "config": Config.from_dict(values["config"]), "labels": tuple(values["labels"])})


def best_labels(probabilities: np.ndarray, labels: tuple[str, ...], count: int = 3) -> list[tuple[str, float]]:
    """The most probable labels of one clip, or those with the highest scores, best first."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(labels[index], float(probabilities[index])) for index in order]
