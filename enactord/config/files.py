"""The files that a config names: each is read once, and what was read is kept beside the config.

So a config can be read anew with the files of now, or with some of now and the others as they were.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE_BYTES_MAX = 1024 * 1024
"""Certificates of many authorities have some hundred kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUse:
    """Files that one thing is made of, by the keys that name them: a secret, or a certificate and its key."""

    keys: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a config was read from: its text, the files that it names, and what was in them.

    `uses` is in the order of the config. `contents` has the bytes of each path in `uses`.
    """

    path: Path
    text: str = field(repr=False)
    for_daemon: bool
    uses: tuple[FileUse, ...] = ()
    contents: Mapping[Path, bytes] = field(default_factory=dict, repr=False)


class FileReader:
    """Reads files, each of them once; `known` are not read but taken to hold this."""

    def __init__(self, known: Mapping[Path, bytes]) -> None:
        self.contents: dict[Path, bytes] = {}
        self._known = known

    def read(self, path: Path) -> bytes:
        """Return a file's content. Raises OSError; `FileTooLarge` beyond `FILE_BYTES_MAX`."""
        if path not in self.contents:
            self.contents[path] = self._known[path] if path in self._known else read_bounded(path)
        return self.contents[path]


class FileTooLarge(OSError):
    """A file that is no config, certificate, key or secret by its size alone."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        super().__init__(None, f"longer than {bytes_max:,} bytes", str(path))


def read_bounded(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """Return a file's content. Raises OSError; `FileTooLarge` beyond `bytes_max`."""
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise FileTooLarge(path, bytes_max)
    return content


def paths_of(uses: Iterable[FileUse]) -> list[Path]:
    """Return the paths of some uses, each once, in order."""
    return list(dict.fromkeys(path for use in uses for path in use.paths))


def is_there(path: Path) -> bool:
    """Whether a file or folder exists. Raises `PermissionError` where this user may not look: it is not "no"."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
