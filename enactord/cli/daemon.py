"""enactord: the daemon itself, a check of its config, and a whole scope on one machine to try."""

from functools import partial
from pathlib import Path

import click
import uvloop

from enactord import __version__
from enactord.cli.completion import completion
from enactord.cli.dev import dev
from enactord.cli.program import Program, common, examples
from enactord.cli.terminal import tell_done, warn
from enactord.clock import SystemClock
from enactord.config.reader import load_config
from enactord.daemon.certificates import certificates_of, expired
from enactord.daemon.run import serve


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        """
enactord dev
enactord check-config /etc/enactord/enactord.toml
enactord run --config /etc/enactord/enactord.toml
"""
    ),
)
@click.version_option(__version__, prog_name="enactord")
@common
def main() -> None:
    """Apply numbered DNS plans to authoritative DNS, fenced on every write.

    Exit codes: 0 ok; 1 a check failed; 2 wrong usage or config; 3 the store or a server
    cannot be reached.
    """


@main.command(epilog=examples("enactord run --config /etc/enactord/enactord.toml"))
@click.option("--config", "path", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The config.")
def run(path: Path) -> None:
    """Run one enactor until SIGTERM or SIGINT (for systemd or Kubernetes); SIGHUP reads its config anew.

    A store or DNS server that is away does not stop it: it goes on verifying, repairs from
    its last known good, and says why it is degraded at /readyz.
    """
    uvloop.run(serve(load_config(path), partial(load_config, path)))


@main.command("check-config", epilog=examples("enactord check-config ./enactord.toml"))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@common
def check_config(path: Path) -> None:
    """Name every problem of a config at once, with line and key; starts nothing."""
    config = load_config(path)
    warnings = [*config.warnings, *expired(certificates_of(config), SystemClock().now())]
    for warning in warnings:
        warn(warning)
    document = {
        "ok": True,
        "scope": config.enactor.scope,
        "enactor": config.enactor.id,
        "zones": [zone.name for zone in config.zones],
        "warnings": warnings,
    }
    zones = ", ".join(zone.name for zone in config.zones)
    tell_done(
        lambda: document,
        lambda out: out.line(f"ok: enactor {config.enactor.id} of scope {config.enactor.scope}: {zones}"),
    )


main.add_command(dev)
main.add_command(completion)


if __name__ == "__main__":
    main()
