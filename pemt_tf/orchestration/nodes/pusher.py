"""A Pusher that pushes the same model only once, so that servers do not reload what they serve already.

After a new blessing the Evaluator judges the same model again, now against itself, and TFX's Pusher would push it.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from tfx import v1 as tfx
from tfx.components.pusher import executor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from pemt_tf.orchestration.nodes.own_node import Artifacts

UNCHANGED = "unchanged"
_PART = 2**20  # bytes read at a time


class PushOnceExecutor(executor.Executor):
    """Pushes a blessed model, unless the newest version in the destination is the same model."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Pushes, or records which version already is this model."""
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        newest = newest_version(destination.filesystem.base_directory)
        if newest and self.CheckBlessing(input_dict) and _contents(self.GetModelPath(input_dict)) == _contents(newest):
            pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
            self._MarkPushed(pushed, pushed_destination=newest, pushed_version=newest.rpartition("/")[2])
            pushed.set_int_custom_property(UNCHANGED, 1)
            return
        super().Do(input_dict, output_dict, exec_properties)


class PushOnce(tfx.components.Pusher):
    """TFX's Pusher with `PushOnceExecutor`. Arguments as in TFX; the destination is a folder."""

    EXECUTOR_SPEC = ExecutorClassSpec(PushOnceExecutor)


def newest_version(folder: str) -> str | None:
    """The folder of the highest version number, which TensorFlow Serving loads; None if there is no version."""
    names = fileio.listdir(folder) if fileio.isdir(folder) else []
    versions = [name.rstrip("/") for name in names if name.rstrip("/").isdecimal()]
    return f"{folder.rstrip('/')}/{max(versions, key=int)}" if versions else None


def _contents(folder: str) -> dict[str, str]:
    """Path below the folder to the SHA-256 of the file's content."""
    found = {}
    for inner, _, names in fileio.walk(folder):
        for name in names:
            path = os.path.join(inner, name)  # noqa: PTH118 (may be gs://)
            digest = hashlib.sha256()
            with fileio.open(path, "rb") as file:
                while part := file.read(_PART):
                    digest.update(part)
            found[os.path.relpath(path, folder)] = digest.hexdigest()
    return found
