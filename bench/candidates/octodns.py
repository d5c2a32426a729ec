"""octoDNS with its RFC 2136 provider: reads the YAML of a zone, transfers the zone, plans, and applies."""

import json
import sys
from pathlib import Path

from bench.candidates.protocol import CannotDo, Took
from bench.fleet import TTL_S, Fleet
from bench.sites import Site
from bench.usage import ToolFailed, run_tool

_TIMEOUT_S = 120
_CONFIG = """
manager: {{max_workers: 1}}
providers:
  config:
    class: octodns.provider.yaml.YamlProvider
    directory: {folder}
    default_ttl: {ttl_s}
    enforce_order: false
  server:
    class: octodns_bind.Rfc2136Provider
    host: {host}
    port: {port}
    timeout: {timeout_s}
    key_name: enactor.
    key_secret: {secret}
    key_algorithm: hmac-sha256
    update_batch_size: {batch}
zones:
  {zone}:
    sources: [config]
    targets: [server]
"""


class Octodns:
    """Runs `octodns-sync --doit --force` once a plan. Writing the YAML is not timed."""

    name = "octoDNS"

    def __init__(self, site: Site, fleet: Fleet) -> None:
        self.fleet = fleet
        self._site = site
        self._dir: Path = site.folder(f"octodns-{fleet.zone}")
        self._program = Path(sys.executable).with_name("octodns-sync")

    async def prepare(self) -> None:
        server = self._site.server
        text = _CONFIG.format(
            folder=self._dir,
            ttl_s=TTL_S,
            host=server.host,
            port=server.port,
            timeout_s=_TIMEOUT_S,
            secret=server.secret,
            batch=self._site.kind.batch_names,
            zone=self.fleet.zone,
        )
        (self._dir / "config.yaml").write_text(text, encoding="ascii")

    async def apply(self) -> Took:
        (self._dir / f"{self.fleet.zone}yaml").write_text(self._zone_yaml(), encoding="ascii")
        command = [str(self._program), "--config-file", "config.yaml", "--doit", "--force"]
        try:
            done = await run_tool(command, cwd=self._dir)
        except FileNotFoundError as error:
            raise CannotDo("octoDNS is not installed: run `make setup`") from error
        except ToolFailed as error:
            raise CannotDo(f"octoDNS: {error}") from error
        return Took(took_s=done.took_s, cpu_s=done.cpu_s, peak_mb=done.peak_mb, endpoints=len(self.fleet.changed))

    async def close(self) -> None:
        """Nothing is left running."""

    def _zone_yaml(self) -> str:
        """Return the zone as JSON, which is YAML; with the one record that the zone had from the start."""
        apex = "." + self.fleet.zone
        records: dict[str, object] = {"ns": {"type": "A", "ttl": 60, "values": ["192.0.2.53"]}}
        for name in self.fleet.names:
            values = self.fleet.addresses(name)
            records[name.removesuffix(apex)] = {"type": "A", "ttl": TTL_S, "values": values}
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in records.items()) + "\n}\n"
