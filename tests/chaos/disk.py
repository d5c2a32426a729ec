"""A small disk for one enactor's state, that can be filled: a tmpfs where we may mount one."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

_SIZE = "8m"
_BLOCK = b"\0" * 65_536


class Disk:
    """A directory with little room. Where mounting is not allowed, a read-only one stands in for a full one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mounted = False
        path.mkdir(parents=True)

    @property
    def kind(self) -> str:
        """How a full disk is made here."""
        return f"tmpfs of {_SIZE}, filled" if self.mounted else "directory without the right to write"

    def mount(self) -> None:
        """Mount a tmpfs, where that is allowed."""
        if os.geteuid() == 0 and shutil.which("mount"):
            command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "enactord-chaos", str(self.path)]
            self.mounted = subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0

    def unmount(self) -> None:
        """Give the tmpfs back; what still holds it open does not keep it in the tree."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True, timeout=20, check=True)
            self.mounted = False

    def fill(self) -> None:
        """Leave no room for a single byte more."""
        if not self.mounted:
            self.path.chmod(0o500)
            return
        with (self.path / "filler").open("wb", buffering=0) as file:
            block = _BLOCK
            while block:
                try:
                    file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block = block[: len(block) // 2]

    def free(self) -> None:
        if not self.mounted:
            self.path.chmod(0o700)
            return
        (self.path / "filler").unlink(missing_ok=True)

    def wipe(self) -> None:
        """Lose everything on it, as a new machine would."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
