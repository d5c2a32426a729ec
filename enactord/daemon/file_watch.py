"""The files that a config names, followed while the enactor runs: secrets and certificates are renewed under it.

Each is looked at every few seconds by its inode, size and times, through links, so that
Kubernetes' exchange of a folder is seen, too. A change is taken up once it has stayed the
same from one look to the next: a file that is still being written, or a certificate whose
key comes a moment later, is left alone until then. What cannot be read or used is told
once, and what was used before goes on being used.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from enactord.config.files import Source, paths_of, read_bounded
from enactord.config.reader import read_source
from enactord.config.tables import Config
from enactord.core.errors import ConfigError
from enactord.core.events import FileRefused, FilesTaken
from enactord.daemon.reload import Live
from enactord.ports import Observer

INTERVAL_S = 2.0
_LOOK_S = 10.0
"""Longest wait for a file system; one that hangs is asked again at the next look."""

Signature = tuple[tuple[int, ...] | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A config with the files of now, as far as they can be used; and by key what cannot, with the reason."""

    config: Config
    problems: Mapping[str, str]


class FileWatch:
    """Follows the files of a running enactor's config."""

    def __init__(self, live: Live, observer: Observer, *, interval_s: float = INTERVAL_S) -> None:
        self._live = live
        self._observer = observer
        self._interval_s = interval_s
        self._last: Signature = ()
        self._done: Signature | None = None
        """What was seen when the files were last read; None: read them again."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def look(self, *, at_once: bool = False) -> Sequence[str]:
        """Take up the files that have changed, if they have settled or `at_once`; returns the keys that changed."""
        config = self._live.config
        try:
            async with asyncio.timeout(_LOOK_S):
                seen = await asyncio.to_thread(_signature, config.source)
                settled, self._last = seen == self._last, seen
                if not at_once and (not settled or seen == self._done):
                    return ()
                found = await asyncio.to_thread(_read, config, self._live.refusals)
        except TimeoutError:
            return ()
        if self._live.config is not config:
            return ()  # the whole config was read anew meanwhile
        self._done = seen
        return self._take(found)

    def forget(self) -> None:
        """Compare anew at the next look: the config is another one."""
        self._done = None
        self._live.file_problems = {}

    def _take(self, found: _Found) -> Sequence[str]:
        told = self._live.file_problems
        self._live.file_problems = dict(found.problems)
        for key, detail in sorted(found.problems.items()):
            if told.get(key) != detail:
                self._observer.observe(FileRefused(key=key, detail=detail))
        keys = self._live.reload(found.config) if found.config is not self._live.config else ()
        if keys:
            self._observer.observe(FilesTaken(keys=tuple(keys)))
        return keys


def _signature(source: Source) -> Signature:
    return tuple(_stamp(path) for path in paths_of(source.uses))


def _stamp(path: Path) -> tuple[int, ...] | str:
    try:
        seen = os.stat(path)
    except OSError as error:
        return str(error.strerror)
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _read(config: Config, refusals: Callable[[Config], Sequence[str]]) -> _Found:
    """Read every file that a config names, and keep what is good: one that is not keeps no other from being used."""
    now: dict[Path, bytes] = {}
    unreadable: dict[Path, str] = {}
    source, good = config.source, config
    for path in paths_of(source.uses):
        try:
            now[path] = read_bounded(path)
        except OSError as error:
            unreadable[path] = f"{path}: {error.strerror}"
    problems: dict[str, str] = {}
    for use in source.uses:
        key = ", ".join(use.keys)
        lost = [unreadable[path] for path in use.paths if path in unreadable]
        if lost:
            problems[key] = f"{'; '.join(lost)}; what was read before is still used"
            continue
        fresh = {path: now[path] for path in use.paths}
        if fresh.items() <= good.source.contents.items():
            continue
        try:
            trial = read_source(replace(source, contents={**good.source.contents, **fresh}))
            refused = refusals(trial)
        except ConfigError as error:
            refused = error.problems
        else:
            if not refused:
                good = trial
        if refused:
            problems[key] = f"{'; '.join(refused)}; what was read before is still used"
    return _Found(config=good, problems=problems)
