"""The whole job from gs:// to gs://, against an emulator."""

import json
import threading
import warnings
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import list_inputs
from beam_jobs.preprocess import main
from tests import media_files as media
from tests.beam_jobs.google_storage import BUCKET, emulated_storage


@pytest.fixture(scope="module")
def google():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with emulated_storage() as (client, requests):
            yield client, requests


@pytest.fixture(scope="module")
def videos(google, tmp_path_factory):
    """Four files, one of them broken; also in the bucket."""
    root = tmp_path_factory.mktemp("google") / "in"
    media.write_video(root / "dog" / "a.mp4", seconds=1)
    media.write_video(root / "cat" / "b with space.webm", seconds=1)
    media.write_video(root / "cat" / "c.mkv", seconds=1.5)
    media.not_media(root / "dog" / "broken.mp4")
    for path in root.rglob("*.*"):
        google[0].bucket(BUCKET).blob(f"in/{path.relative_to(root)}").upload_from_filename(str(path))
    return root


def _objects(client, prefix):
    bucket = client.bucket(BUCKET)
    return {blob.name.removeprefix(prefix): blob.download_as_bytes() for blob in bucket.list_blobs(prefix=prefix)}


def test_job_from_bucket_to_bucket_makes_the_same_bytes(google, videos, tmp_path, capfd):
    client, _ = google
    flags = ["--shards_per_split", "2"]
    assert main(["--input", str(videos), "--output", str(tmp_path / "out"), *flags]) == 0
    capfd.readouterr()
    assert main(["--input", f"gs://{BUCKET}/in", "--output", f"gs://{BUCKET}/out", *flags]) == 0
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err and f"gs://{BUCKET}/out" in captured.out
    remote = _objects(client, "out/")
    local = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.tfrecord")}
    assert local and {name for name in remote if name.endswith(".tfrecord")} == set(local)
    assert all(remote[name] == path.read_bytes() for name, path in local.items())
    card = json.loads(remote["dataset_card.json"])
    assert (card["inputs"], card["written"], sum(card["failed"].values())) == (4, 3, 1)
    assert card["content_hash"] == json.loads((tmp_path / "out" / "dataset_card.json").read_text())["content_hash"]
    assert not any(part in name for name in remote for part in ("partial", "plan.jsonl"))


def _requests_of(requests, action):
    """What an action asks for, with what it asks in threads that it leaves behind: (method and path, query) each."""
    before = set(threading.enumerate())
    requests.clear()
    result = action()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=20)
    asked = [urlsplit(request.removesuffix(" HTTP/1.1")) for request in requests]
    return result, [(parts.path.replace("/storage/v1", ""), parse_qs(parts.query)) for parts in asked]


@pytest.mark.parametrize("objects", [3, 300])
def test_listing_is_one_request_however_many_objects_there_are(google, objects):
    client, requests = google
    for number in range(objects):
        client.bucket(BUCKET).blob(f"{objects}/{number:03d}.mp4").upload_from_string(b"x" * number)
    folder = f"gs://{BUCKET}/{objects}"
    listing, asked_by_inputs = _requests_of(requests, lambda: list_inputs(folder))
    assert [clip.size for clip in listing.clips] == list(range(objects))
    sizes, asked_by_sizes = _requests_of(requests, lambda: storage.list_sizes(folder, "*.mp4"))
    assert [sizes[f"{folder}/{number:03d}.mp4"] for number in range(objects)] == list(range(objects))
    for asked in (asked_by_inputs, asked_by_sizes):
        assert [path for path, _ in asked] == [f"GET /b/{BUCKET}/o"]
        # No smaller pages than Google's own of a thousand objects, which the emulator does not make.
        assert asked[0][1]["prefix"] == [f"{objects}/"] and "maxResults" not in asked[0][1]


def test_a_file_costs_two_requests_and_the_bucket_none(google):
    """Google's client would ask for the bucket's metadata anew for every file; `storage` says no to that."""
    client, requests = google
    client.bucket(BUCKET).blob("two.bin").upload_from_string(bytes(100_000))

    def copy():
        with storage.local_copy(f"gs://{BUCKET}/two.bin") as path:
            return Path(path).stat().st_size

    for _ in range(2):
        size, asked = _requests_of(requests, copy)
        assert size == 100_000
        assert [path for path, _ in asked] == [f"GET /b/{BUCKET}/o/two.bin", f"GET /download/b/{BUCKET}/o/two.bin"]


def test_a_file_is_copied_once_and_what_is_missing_is_an_oserror(google):
    client, requests = google
    content = bytes(range(256)) * 5000
    client.bucket(BUCKET).blob("one.bin").upload_from_string(content)
    requests.clear()
    with storage.local_copy(f"gs://{BUCKET}/one.bin") as path, open(path, "rb") as file:  # noqa: PTH123
        assert file.read() == content
    assert sum("alt=media" in request for request in requests) == 1, requests
    with pytest.raises(FileNotFoundError, match="missing"), storage.local_copy(f"gs://{BUCKET}/missing.mp4"):
        pass
    with storage.open_read(f"gs://{BUCKET}/one.bin") as file:
        file.seek(256 * 4999 + 250)
        assert file.read() == bytes(range(250, 256))
