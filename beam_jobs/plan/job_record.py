"""What a job was told to do, so that another run can tell whether it does the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.plan.sharding import Shard
from beam_jobs.worker.shard_maker import ShardSettings
from pemt_tf.config import flat_fields
from pemt_tf.errors import PemtError

JOB_NAME = "job.json"
NOT_IN_RESULT = ("folder", "decode_timeout", "decode_memory_mb")  # good clips do not depend on these


@dataclass(frozen=True)
class JobRecord:
    """All that the bytes of a data set follow from.

    Attributes:
        settings: by name, nested ones joined by dots.
        inputs: how many.
        inputs_hash: SHA-256 of their list; where the files are does not count, their names and sizes do.
    """

    settings: dict[str, Any]
    inputs: int
    inputs_hash: str

    @classmethod
    def of(
        cls, settings: ShardSettings, plan: list[tuple[Shard, list[InputClip]]], drop_duplicates: str = ""
    ) -> JobRecord:
        """Describes a job."""
        values = {**dataclasses.asdict(settings), "drop_duplicates": drop_duplicates}
        digest = hashlib.sha256()
        for shard, clips in plan:
            digest.update(shard.name.encode() + b"\n")
            for clip in clips:
                line = json.dumps({**clip.to_json(), "path": ""}, sort_keys=True)
                digest.update(line.encode("ascii") + b"\n")
        chosen = {name: value for name, value in values.items() if name not in NOT_IN_RESULT}
        # Through JSON, because tuples come back from there as lists.
        return cls(
            json.loads(json.dumps(flat_fields(chosen))), sum(len(clips) for _, clips in plan), digest.hexdigest()
        )

    @property
    def configuration_hash(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, earlier: JobRecord) -> list[str]:
        """What differs, one sentence each."""
        names = sorted(set(self.settings) | set(earlier.settings))
        found = [
            f"{name} was {earlier.settings.get(name)!r} and is {self.settings.get(name)!r}"
            for name in names
            if self.settings.get(name) != earlier.settings.get(name)
        ]
        if self.inputs != earlier.inputs:
            found.append(f"there were {earlier.inputs} inputs and are {self.inputs}")
        elif self.inputs_hash != earlier.inputs_hash:
            found.append("the list of inputs (names, sizes, labels, splits or number of shards) is another")
        return found

    def write(self, folder: str) -> None:
        """Writes `job.json`."""
        storage.write_text(storage.join(folder, JOB_NAME), json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: str) -> JobRecord | None:
        """Reads it; None where there is none, or where a crash left half of it.

        Raises:
            PemtError: it cannot be read.
        """
        path = storage.join(folder, JOB_NAME)
        if not storage.exists(path):
            return None
        try:
            with storage.open_read(path) as file:
                return cls(**json.loads(file.read()))
        except OSError as error:
            raise PemtError(f"cannot read {path}: {error.strerror or error}") from None
        except (ValueError, TypeError):
            return None
