"""Zones on disk: a snapshot, and a journal of what changed since.

    state_dir/lock        held by the process that serves from the directory
    state_dir/snapshot    all zones as of a sequence number; replaced whole, by rename
    state_dir/journal     entries after it, each on disk before its updates are answered

An entry holds the new content of every name that one group of updates changed, so it
can be replayed any number of times. It is valid whole or not at all. A crash can leave
a broken entry only at the end, since the next one is written when the one before is on
disk: a broken entry with a valid one after it is damage, and is refused, because going
on would lose updates that were acknowledged.
"""

import fcntl
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from struct import error as StructError

from enactord.core.errors import EnactordError
from enactord.dns_server.zone import Node, RRset

ZoneNodes = Mapping[bytes, Mapping[bytes, Node]]
"""Nodes by name, by origin; an empty node in a journal entry means that the name went."""

_MAGIC = b"EnJ1"
_ENTRY = Struct("!4sQII")  # magic, sequence number, length of the payload, checksum
_NODE_COUNT = Struct("!I")
_RRSET = Struct("!HIH")  # type, TTL, number of records


class StateDamaged(EnactordError):
    """The files of a state directory do not hold what was written to them."""


class StateInUse(EnactordError):
    """Another process serves from this state directory."""


def _pack_zones(zones: ZoneNodes) -> bytes:
    parts: list[bytes] = []
    for origin, nodes in zones.items():
        parts += (origin, _NODE_COUNT.pack(len(nodes)))
        for name, node in nodes.items():
            parts += (name, bytes((len(node),)))
            for rtype, rrset in node.items():
                parts.append(_RRSET.pack(rtype, rrset.ttl_s, len(rrset.rdatas)))
                for rdata in rrset.rdatas:
                    parts += (len(rdata).to_bytes(2, "big"), rdata)
    return b"".join(parts)


def _read_name(buffer: bytes, position: int) -> tuple[bytes, int]:
    end = position
    while buffer[end]:
        end += buffer[end] + 1
    return buffer[position : end + 1], end + 1


def _read_zones(payload: bytes, into: dict[bytes, dict[bytes, Node]]) -> None:
    position = 0
    while position < len(payload):
        origin, position = _read_name(payload, position)
        (count,) = _NODE_COUNT.unpack_from(payload, position)
        position += _NODE_COUNT.size
        nodes = into.setdefault(origin, {})
        for _ in range(count):
            name, position = _read_name(payload, position)
            node, position = _read_node(payload, position)
            if node:
                nodes[name] = node
            else:
                nodes.pop(name, None)


def _read_node(payload: bytes, position: int) -> tuple[Node, int]:
    node: dict[int, RRset] = {}
    rrsets = payload[position]
    position += 1
    for _ in range(rrsets):
        rtype, ttl_s, count = _RRSET.unpack_from(payload, position)
        position += _RRSET.size
        rdatas: list[bytes] = []
        for _ in range(count):
            end = position + 2 + int.from_bytes(payload[position : position + 2], "big")
            rdatas.append(payload[position + 2 : end])
            position = end
        node[rtype] = RRset(ttl_s, tuple(rdatas))
    return node, position


def _pack_entry(sequence: int, payload: bytes) -> bytes:
    checksum = zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "big")))
    return _ENTRY.pack(_MAGIC, sequence, len(payload), checksum) + payload


def _read_entry(buffer: bytes, position: int) -> tuple[int, bytes, int] | None:
    """Return sequence number, payload and end of the entry at a position, None where no valid one stands."""
    start = position + _ENTRY.size
    if start > len(buffer):
        return None
    magic, sequence, length, checksum = _ENTRY.unpack_from(buffer, position)
    payload = buffer[start : start + length]
    if magic != _MAGIC or len(payload) != length:
        return None
    if zlib.crc32(payload, zlib.crc32(sequence.to_bytes(8, "big"))) != checksum:
        return None
    return sequence, payload, start + length


class Journal:
    """The state directory of one server. All calls block, and none may overlap another."""

    def __init__(self, state_dir: Path) -> None:
        self._dir = state_dir
        self._sequence = 0
        self._lock = -1
        self._file = -1
        self.size = 0
        """Bytes in the journal."""
        self.snapshot_size = 0

    def open(self) -> dict[bytes, dict[bytes, Node]]:
        """Take the directory, made if need be, and return the zones in it.

        Raises `StateInUse`, `StateDamaged`, OSError.
        """
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateInUse(f"{self._dir} is served by another process: stop it, or use another one") from error
            return self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> dict[bytes, dict[bytes, Node]]:
        zones: dict[bytes, dict[bytes, Node]] = {}
        snapshot = self._dir / "snapshot"
        if snapshot.exists():
            buffer = snapshot.read_bytes()
            entry = _read_entry(buffer, 0)
            if entry is None or entry[2] != len(buffer):
                raise StateDamaged(f"{snapshot} is damaged: restore {self._dir} from a backup, or empty it")
            self._sequence = entry[0]
            self.snapshot_size = len(buffer)
            self._replay(snapshot, entry[1], zones)
        path = self._dir / "journal"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        buffer = path.read_bytes()
        position = 0
        while (entry := _read_entry(buffer, position)) is not None:
            sequence, payload, position = entry
            if sequence <= self._sequence:
                continue  # already in the snapshot: the crash came before the journal was emptied
            if sequence != self._sequence + 1:
                raise StateDamaged(f"{path}: entry {self._sequence + 1} is missing: restore from a backup")
            self._replay(path, payload, zones)
            self._sequence = sequence
        if position != len(buffer):
            self._check_tail(path, buffer, position)
            os.ftruncate(self._file, position)
        os.fsync(self._file)
        self._sync_dir()
        self.size = position
        return zones

    @staticmethod
    def _replay(path: Path, payload: bytes, zones: dict[bytes, dict[bytes, Node]]) -> None:
        try:
            _read_zones(payload, zones)
        except (IndexError, StructError) as error:
            raise StateDamaged(f"{path}: a valid checksum over broken content") from error

    @staticmethod
    def _check_tail(path: Path, buffer: bytes, position: int) -> None:
        """Tell a torn last entry from damage further up: after damage there is a valid entry."""
        found = buffer.find(_MAGIC, position + 1)
        while found >= 0:
            if _read_entry(buffer, found) is not None:
                raise StateDamaged(
                    f"{path} is damaged at byte {position}, and whole from byte {found} on: restore it from a backup"
                )
            found = buffer.find(_MAGIC, found + 1)

    def append(self, changes: ZoneNodes) -> None:
        """Put an entry on disk. After an OSError nothing more may be appended: what is on disk is not known."""
        entry = _pack_entry(self._sequence + 1, _pack_zones(changes))
        written = os.write(self._file, entry)
        if written != len(entry):
            raise OSError(f"{self._dir}: only {written} of {len(entry)} bytes were written (disk full?)")
        os.fdatasync(self._file)
        self._sequence += 1
        self.size += len(entry)

    def snapshot(self, zones: ZoneNodes) -> None:
        """Write all zones anew and empty the journal. Raises OSError, and the old files are still whole then."""
        entry = _pack_entry(self._sequence, _pack_zones(zones))
        temporary = self._dir / "snapshot.new"
        with open(temporary, "wb") as file:
            file.write(entry)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._dir / "snapshot")
        self._sync_dir()  # the snapshot must be there before the journal goes
        os.ftruncate(self._file, 0)
        os.fsync(self._file)
        self.size, self.snapshot_size = 0, len(entry)

    def _sync_dir(self) -> None:
        directory = os.open(self._dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Let the directory go; harmless when repeated."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1
