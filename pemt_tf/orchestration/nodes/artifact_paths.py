"""Paths of artefacts. Our own code reads and writes files, while TFX may name them by an address such as gs://."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.errors import PemtError

MOUNTS = Path("/gcs")  # where Vertex AI shows buckets to every container


def local_path(address: str) -> Path:
    """The path of an artefact: the address itself, or for `gs://BUCKET/...` the path below `/gcs/BUCKET`."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return Path(address)
    bucket = rest.partition("/")[0]
    if scheme == "gs" and (MOUNTS / bucket).is_dir():
        return MOUNTS / rest
    raise PemtError(
        f"{address} is not on a mounted file system: Vertex AI mounts gs://BUCKET at {MOUNTS}/BUCKET in every "
        "container; elsewhere mount the bucket there, or let kubeflow.root be a path on a shared volume"
    )


def bucket_address(path: Path) -> str:
    """The inverse of `local_path`, for Dataflow's workers, which mount nothing. A path elsewhere stays as it is."""
    return f"gs://{path.relative_to(MOUNTS).as_posix()}" if path.is_relative_to(MOUNTS) else str(path)
