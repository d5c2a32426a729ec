"""`enactorctl` run in this process, on a store of its own."""

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from enactord.cli.ctl import main


def ctl_in(folder: Path) -> Callable[..., str]:
    """Return what runs a command by a config in the folder: it checks the exit code, and returns what was said."""
    config = folder / "enactord.toml"
    config.write_text(
        f'[enactor]\nid = "a"\nscope = "test"\n[store]\nurl = "sqlite://{folder}/store.db"\n'
        '[[zone]]\nname = "example.test."\nbackend = "embedded"\n[guard]\nallow_private = true\n'
    )

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["--config", str(config), *words])
        assert done.exit_code == code, done.output
        return done.output

    return run
