"""`nsupdate` with one big script: BIND's own tool, a message after the other."""

from pathlib import Path

from bench.candidates.protocol import CannotDo, Took
from bench.fleet import TTL_S, Fleet
from bench.sites import Site
from bench.usage import ToolFailed, run_tool


class Nsupdate:
    """Runs the tool once a plan. Making the script is not timed."""

    name = "nsupdate"

    def __init__(self, site: Site, fleet: Fleet) -> None:
        self.fleet = fleet
        self._site = site
        self._dir: Path = site.folder(f"nsupdate-{fleet.zone}")

    async def prepare(self) -> None:
        """Nothing runs between plans."""

    async def apply(self) -> Took:
        script = self._dir / "script"
        script.write_text(self._script(), encoding="ascii")
        try:
            done = await run_tool(["nsupdate", "-v", str(script)], cwd=self._dir)
        except FileNotFoundError as error:
            raise CannotDo("nsupdate is not installed: run `make setup`") from error
        except ToolFailed as error:
            raise CannotDo(f"nsupdate: {error}") from error
        return Took(took_s=done.took_s, cpu_s=done.cpu_s, peak_mb=done.peak_mb, endpoints=len(self.fleet.changed))

    async def close(self) -> None:
        """Nothing is left running."""

    def _script(self) -> str:
        server = self._site.server
        lines = [
            f"server {server.host} {server.port}",
            f"zone {self.fleet.zone}",
            f"key hmac-sha256:enactor {server.secret}",
        ]
        size = self._site.kind.batch_names
        for number, name in enumerate(self.fleet.changed, start=1):
            lines += [f"update delete {name} A", f"update delete {name} AAAA"]
            lines += [f"update add {name} {TTL_S} A {address}" for address in self.fleet.addresses(name)]
            if number % size == 0:
                lines.append("send")
        return "\n".join([*lines, "send", ""])
