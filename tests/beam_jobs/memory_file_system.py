"""A file system in memory under mem://, to test what the job does on stores that are not the local disk.

Like object stores it has no folders, no renaming in place and shows a file only when it is closed.
"""

import io

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

FILES: dict[str, bytes] = {}


class _Upload(io.BytesIO):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def close(self):
        if not self.closed:
            FILES[self._path] = self.getvalue()
        super().close()


class MemoryFileSystem(FileSystem):
    """Beam finds it by its scheme."""

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        folder, _, name = path.rpartition("/")
        return folder, name

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, data in FILES.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(self, path, mime_type="application/octet-stream", compression_type=CompressionTypes.AUTO):
        return _Upload(path)

    def open(self, path, mime_type="application/octet-stream", compression_type=CompressionTypes.AUTO):
        if path not in FILES:
            raise FileNotFoundError(path)
        return io.BytesIO(FILES[path])

    def exists(self, path):
        return path in FILES

    def delete(self, paths):
        for path in paths:
            FILES.pop(path, None)

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def size(self, path):
        return len(FILES[path])

    def last_updated(self, path):
        return 0.0

    def checksum(self, path):
        return str(hash(FILES[path]))

    def metadata(self, path):
        return FileMetadata(path, len(FILES[path]))
