"""`enactorctl` on a machine that has the URL of an enactor and a token, and neither config nor store."""

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from enactord.cli.ctl import main as ctl
from tests.tokens import secret_of


class Laptop:
    """Where commands are typed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._token = folder / "token"

    async def run(self, *words: str, bearer: str = "alice") -> Result:
        """Run a command with the token of that name ("": none)."""
        with_token: tuple[str, ...] = ()
        if bearer:
            self._token.write_text(secret_of(bearer) + "\n")
            self._token.chmod(0o600)
            with_token = ("--token-file", str(self._token))
        given = ["--url", self.url, *with_token, *words]
        return await asyncio.to_thread(CliRunner(env={"ENACTORD_CONFIG": "/nowhere.toml"}).invoke, ctl, given)

    async def ok(self, *words: str, bearer: str = "alice") -> Any:
        """Run a command that must be carried out; returns its document."""
        done = await self.run(*words, "--json", bearer=bearer)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def no(self, code: int, *words: str, bearer: str = "alice") -> Any:
        """Run a command that must end with that exit code; returns the error."""
        done = await self.run(*words, "--json", bearer=bearer)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)["error"]

    async def says(self, *words: str, bearer: str = "alice") -> str:
        """Run a command that must be carried out; returns what people read."""
        done = await self.run(*words, bearer=bearer)
        assert done.exit_code == 0, done.output
        return done.output
