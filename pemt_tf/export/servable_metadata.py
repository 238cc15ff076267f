"""What a SavedModel says of itself: in a file beside it, and over the wire through its signature `metadata`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pemt_tf
from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text

METADATA = "assets.extra/pemt.json"


@dataclass(frozen=True)
class ServableMetadata:
    """What a SavedModel says of itself.

    Attributes:
        config: of the model.
        labels: classes, in the order of `probabilities`; empty without classifier.
        run: the training run it was exported from.
        data_hash: of the data set of that run.
        release: of this package.
        version: number of the folder that it was exported into; 0 if it was exported into none.
        weights: how they are stored: `float32`, `float16` or `int8`.
    """

    config: Config
    labels: tuple[str, ...]
    run: str = ""
    data_hash: str = ""
    release: str = pemt_tf.__version__
    version: int = 0
    weights: str = "float32"

    def write(self, directory: Path) -> None:
        """Writes `assets.extra/pemt.json` into a SavedModel."""
        path = directory / METADATA
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json_text(self._values(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> ServableMetadata:
        """Reads it back.

        Raises:
            PemtError: this is no SavedModel of ours, or it is damaged.
        """
        path = directory / METADATA
        if not path.is_file():
            raise PemtError(f"{directory} is not a model exported by `pemt export`: it has no {METADATA}")
        try:
            return cls._from_values(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PemtError(f"{path} is damaged ({error}); export the model again") from None

    def served_fields(self) -> dict[str, str]:
        """What the signature `metadata` answers, by field, as JSON.

        The single fields are for people; `all` is for `from_served`. Where the run lay is nobody's business: only the
        name of its folder is told.
        """
        values = {**self._values(), "run": Path(self.run).name}
        single = {name: values[name] for name in ("labels", "version", "weights", "release", "run", "data_hash")}
        single |= {"name": self.config.name, "geometry": values["config"]["geometry"]}
        single["modalities"] = values["config"]["model"]["modalities"]
        # ASCII only: error messages of TF Serving escape everything else in a way that JSON does not know.
        return {name: json.dumps(value) for name, value in {**single, "all": values}.items()}

    @classmethod
    def from_served(cls, text: str) -> ServableMetadata:
        """Reads the field `all`.

        Raises:
            PemtError: it is not what `served_fields` made.
        """
        try:
            return cls._from_values(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise PemtError(f"the server describes its model in a way that this release cannot read: {error}") from None

    def _values(self) -> dict[str, Any]:
        return {**vars(self), "config": self.config.to_dict(), "labels": list(self.labels)}

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> ServableMetadata:
        return cls(**{**values, "config": Config.from_dict(values["config"]), "labels": tuple(values["labels"])})
