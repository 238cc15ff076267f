"""The file that tells TensorFlow Serving which versions of a model to load and what their labels are.

A label needs a loaded version, and the policy `latest` unloads versions without regard to labels. So with labels the
policy is always `specific` and lists every labelled version. No TensorFlow is needed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import whole_file

_LABEL = re.compile(r"[^/:=\s]+")
_HEAD = "# Which models to serve: --model_config_file. Edited by `pemt serve-config`, which keeps only this head.\n"


class ModelsConfig:
    """One model in a models config file, which need not exist yet.

    `base_path` is the folder of versions as the server sees it; a model that is not in a file of others needs it.
    """

    def __init__(self, path: Path, model: str, base_path: str | None = None):
        self.path = path.resolve()  # the target of a link is edited, not the link
        self._name = str(path)
        self._head, self._config = _HEAD, model_server_config_pb2.ModelServerConfig()
        if self.path.exists():
            self._read()
        models = self._config.model_config_list.config
        found = [one for one in models if one.name == model]
        if not found and models and base_path is None:
            names = ", ".join(one.name for one in models)
            raise PemtError(f"{path} has no model {model} but {names}; give --model-name, or --base-path to add it")
        if not found:
            found = [models.add(name=model, base_path=base_path or f"/models/{model}", model_platform="tensorflow")]
        self._model, self._policy = found[0], found[0].model_version_policy
        if base_path is not None:
            self._model.base_path = base_path

    @property
    def labels(self) -> dict[str, int]:
        """Label to version."""
        return dict(sorted(self._model.version_labels.items()))

    @property
    def versions(self) -> tuple[int, ...] | None:
        """The versions that the file lists; None where its policy is `latest` or `all`."""
        return tuple(self._policy.specific.versions) if self._policy.HasField("specific") else None

    def loaded_of(self, there: Iterable[int]) -> set[int]:
        """Those of the versions in the model's folder that the server loads."""
        if self.versions is not None:
            return set(self.versions)
        if self._policy.HasField("all"):
            return set(there)
        return set(sorted(there)[-(self._policy.latest.num_versions or 1) :])

    def use_specific(self, versions: Iterable[int]) -> None:
        """Loads exactly these versions."""
        self._policy.Clear()
        self._policy.specific.versions.extend(sorted(set(versions)))

    def use_latest(self, count: int) -> None:
        """Loads the highest versions; not allowed with labels."""
        if self.labels:
            named = ", ".join(self.labels)
            raise PemtError(
                f"{self._name} has the labels {named}, and `latest` would unload their versions at some time; "
                "remove them first (--remove-label)"
            )
        self._policy.Clear()
        self._policy.latest.num_versions = count

    def set_label(self, label: str, version: int) -> None:
        """Points a label at a version."""
        self._model.version_labels[label] = version

    def remove_label(self, label: str) -> None:
        """Removes a label."""
        if label not in self._model.version_labels:
            raise PemtError(f"{self._name} has no label {label}; it has {', '.join(self.labels) or 'none'}")
        del self._model.version_labels[label]

    def summary(self) -> str:
        """The model's versions and labels in one line."""
        labels = ", ".join(f"{label} = {version}" for label, version in self.labels.items()) or "no labels"
        policy = self._policy
        if self.versions is not None:
            loads = "version" + "s" * (len(self.versions) > 1) + " " + ", ".join(map(str, self.versions))
        else:
            loads = "all versions" if policy.HasField("all") else f"latest {policy.latest.num_versions or 1}"
        return f"{self._model.name}: {loads}; {labels}"

    def write(self) -> None:
        """Writes the file, whole or not at all; raises PemtError if a label points at a version that is not loaded."""
        check_labels(self.labels, self.versions or ())
        text = self._head + text_format.MessageToString(self._config)
        mode = stat.S_IMODE(self.path.stat().st_mode) if self.path.exists() else 0o644  # the server is another user
        try:
            with whole_file(self.path) as partial, partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                partial.chmod(mode)
        except OSError as error:
            raise PemtError(f"{self._name} cannot be written ({error.strerror})") from None

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
            text_format.Parse(text, self._config)
        except OSError as error:
            raise PemtError(f"{self._name} cannot be read ({error.strerror})") from None
        except (text_format.ParseError, ValueError) as error:
            raise PemtError(f"{self._name} is not a models config of TensorFlow Serving: {error}") from None
        if self._config.WhichOneof("config") == "custom_model_config":
            raise PemtError(f"{self._name} has a custom_model_config, which this command cannot edit")
        self._head = (*re.findall(r"\A(?:#[^\n]*\n)+", text), _HEAD)[0]


def check_labels(labels: dict[str, int], versions: Iterable[int]) -> None:
    """Checks names, and that every label has a loaded version."""
    loaded = set(versions)
    for label, number in labels.items():
        if not _LABEL.fullmatch(label):
            raise PemtError(f"{label!r} is not a label: a label has no slash, colon, equals sign or space")
        if number not in loaded:
            text = f"version {number} has the label {label} and must stay loaded; move or remove the label first"
            raise PemtError(text)


def versions_in(folder: Path) -> list[int]:
    """The versions that `pemt export` wrote to a folder, ascending."""
    found = [one for one in folder.iterdir() if one.name.isdecimal()] if folder.is_dir() else []
    found = sorted(int(one.name) for one in found if (one / "saved_model.pb").is_file())
    if not found:
        raise PemtError(f"{folder} has no version of a model; make one with `pemt export --output {folder}`")
    return found
