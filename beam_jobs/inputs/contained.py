"""Inputs that are inside of other files: decides when a tar, a Parquet file or a metadata file is one."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

from beam_jobs.engines import storage
from beam_jobs.inputs import bundles, parquet_listing, tar_listing, video_folder
from beam_jobs.inputs.bundles import TAR
from beam_jobs.inputs.file_listing import InputListing, SkippedFile
from beam_jobs.inputs.manifest_rows import PARQUET
from beam_jobs.inputs.paths import WILDCARDS
from pemt_tf.data.dataset_card import CARD_NAME
from pemt_tf.errors import PemtError


def bundles_named(source: str) -> list[tuple[str, str]]:
    """Path and name of the tars or Parquet files of media that the input names one by one; none if it is another."""
    names = bundles.expanded(source)
    if WILDCARDS.search(source) or not all(name.lower().endswith(bundles.BUNDLES) for name in names):
        return []
    if len(names) == 1 and not storage.is_remote(source) and not storage.is_file(names[0]):
        return []
    missing = [name for name in names if len(names) > 1 and not storage.exists(name)]
    if missing:
        raise PemtError(f"--input {source} names {missing[0]}, which is not there; give the range that is")
    if not source.lower().endswith(TAR) and not parquet_listing.has_bytes(names[0], if_damaged=False):
        return []
    return [(name, bundles.name_of(name)) for name in names]


def is_glob_of_parquet(source: str) -> bool:
    """Whether the input is a glob of Parquet files, which are no manifest together."""
    return bool(WILDCARDS.search(source)) and source.lower().endswith(PARQUET) and not storage.is_file(source)


def list_named(files: list[tuple[str, str]]) -> InputListing:
    """The media inside of files."""
    return bundles.list_bundles(files, _list_file)


def _list_file(path: str, name: str) -> InputListing:
    return (tar_listing.list_tar if path.lower().endswith(TAR) else parquet_listing.list_parquet)(path, name)


def with_contents(source: str, listing: InputListing, allow_outside: bool) -> InputListing:
    """The listing of a folder or glob, or what its files hold: metadata files, or tars and Parquet files of media."""
    if not listing.clips:
        _refuse_data_set(source)
    is_folder = not WILDCARDS.search(source)
    if is_folder and video_folder.metadata_files(listing):
        return video_folder.read_video_folder(source.rstrip("/") or "/", listing, allow_outside)
    found = [file for file in listing.filtered if file.cause == "not_media_suffix" and _holds_media(file)]
    if not found:
        return listing
    if listing.clips:
        tars = "1 file" if len(found) == 1 else f"{len(found)} files"
        note = f"{tars} like {found[0].name} beside the media files are not opened; name them to read them: '*.tar'"
        return dataclasses.replace(listing, notes=(*listing.notes, note))
    inside = list_named([(file.path, file.name) for file in found])
    others = [file for file in listing.filtered if file not in found]
    return dataclasses.replace(
        inside, filtered=others + inside.filtered, unreadable=listing.unreadable + inside.unreadable
    )


def _holds_media(file: SkippedFile) -> bool:
    suffix = PurePosixPath(file.name).suffix.lower()
    return suffix == TAR or (suffix in PARQUET and parquet_listing.has_bytes(file.path, if_damaged=True))


def _refuse_data_set(source: str) -> None:
    if not WILDCARDS.search(source) and storage.exists(storage.join(source, CARD_NAME)):
        raise PemtError(
            f"{source} is a data set already; `python -m beam_jobs.convert` writes it in another form, and training "
            "reads it as it is"
        )
