"""Programs that judge what ships: where one is missing, a test fails and says what installs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment or of the system."""
    own = Path(sys.executable).with_name(program)
    path = str(own) if own.exists() else shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is not installed: run `make setup`")
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=100, check=False)


def kustomize(folder: Path) -> str:
    """Render a folder as `kubectl apply --kustomize` would."""
    done = run("kubectl", "kustomize", str(folder))
    assert done.returncode == 0, f"{done.stderr}\nThis is written for kubectl 1.27 or newer."
    return done.stdout
