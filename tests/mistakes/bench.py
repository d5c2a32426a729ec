"""A folder with a sound config, key, tokens and plan, in which mistakes are made and commands are typed."""

import json
import os
import re
import shlex
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.docs.cli import PROGRAMS
from tests.servers.dns_server import SECRET

ZONE = "us-east-1.example.com."
NAMES = tuple(f"{label}.{ZONE}" for label in ("api", "www", "login", "static", "mail"))
NOBODY = "127.0.0.1:9"
"""Nothing listens there."""
CONFIG = """\
[enactor]
id = "enactor-a"
scope = "us-east-1"
state_dir = "state"

[store]
url = "{store}"
timeout_s = 1.0

[[zone]]
name = "us-east-1.example.com."
backend = "rfc2136"
server = "{server}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 1.0
verify_timeout_s = 1.0

[guard]
ttl_max_s = 3600

[http]
listen = "127.0.0.1:8451"
tokens_file = "http.tokens"

[log]
level = "info"
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the real servers are: the DNS server as the config names it, and the url of etcd."""

    dns: str
    etcd: str


@dataclass(kw_only=True)
class Bench:
    """The folder that is the current one, and the addresses of servers that really run (or of none)."""

    folder: Path
    server: str = NOBODY
    store: str = ""
    """The store of the config; "": a SQLite file."""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store = self.store or f"sqlite://{self.folder}/store.db"
        self.config.write_text(CONFIG.format(store=store, server=self.server))
        self.write("tsig.secret", SECRET)
        self.write("http.tokens", "")
        self.write_plan()

    @property
    def config(self) -> Path:
        return self.folder / "enactord.toml"

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)

    def edit(self, before: str, after: str) -> None:
        """Change the one place in the config where a text stands."""
        text = self.config.read_text()
        assert text.count(before) == 1, before
        self.config.write_text(text.replace(before, after))

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Return a sound plan, with other values of its keys."""
        endpoints = {name: {"ttl_s": 5, "targets": [{"address": "8.8.4.4", "weight": 1}]} for name in NAMES}
        known = {"schema": "enactord.plan/v1", "scope": "us-east-1", "author": "planner-1", "endpoints": endpoints}
        return known | changes

    def write_plan(self, **changes: Any) -> None:
        self.write("plan.json", json.dumps(self.plan(**changes), indent=1))

    def endpoint(self, **changes: Any) -> None:
        """Change the first endpoint of the plan."""
        document = self.plan()
        document["endpoints"][NAMES[0]] |= changes
        self.write("plan.json", json.dumps(document, indent=1))

    def type(self, command: str) -> Result:
        """Type a command; the folder must be the current one."""
        program, *words = shlex.split(command)
        env = {"ENACTORD_CONFIG": "enactord.toml", "CREDENTIALS_DIRECTORY": "", "COLUMNS": "100"} | self.env
        return CliRunner().invoke(PROGRAMS[program], words, env=env, prog_name=program)

    def carry_out(self, command: str) -> None:
        """Type a command that belongs to what has happened before; it must succeed."""
        done = self.type(command)
        assert done.exit_code == 0, done.output

    def said(self, result: Result) -> str:
        """Return what a command said of a mistake (of `doctor`: the faults), without the names of this machine."""
        lines = result.output.rstrip().splitlines()
        return self.example("\n".join(_faults(lines) if "zones" in lines else lines))

    def example(self, text: str) -> str:
        """Return a text with the names of the examples in place of this machine's."""
        host, _, port = self.server.partition(":")
        text = text.replace(str(self.folder), "/etc/enactord").replace(f"{host} -p {port}", "192.0.2.53")
        text = text.replace(self.server, "192.0.2.53:53").replace(f"user {os.geteuid()}:", "user 998:")
        return text.replace(self.store.removeprefix("etcd://"), "192.0.2.11:2379") if self.store else text


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a mistake, and the exit code.

    `checked`: the exit code of `check-config` before. `for_programs`: exit code and stdout with `--json`.
    """

    code: int
    text: str
    checked: int
    for_programs: tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake. `place` and `fix`: words that what is said of it must hold."""

    wrong: str
    """What is wrong, for people."""
    make: Callable[[Bench], object]
    command: str
    """What a person types who does not know of it yet."""
    code: int
    place: str
    """The file, line, key, name or option that is wrong."""
    fix: str
    """What to type or to change."""
    servers: bool = False
    """Whether it takes a real DNS server and a real etcd."""

    @property
    def asks(self) -> bool:
        """Whether what is said tells of an answer over the network, or of none: its words may vary."""
        return self.servers or self.code == 3

    def commit(self, folder: Path, servers: Servers | None) -> Said:
        """Make the mistake in a new folder, and type the command there."""
        bench = Bench(folder=folder)
        if self.servers:
            assert servers is not None
            bench = Bench(folder=folder, server=servers.dns, store=servers.etcd)
        with chdir(folder):
            self.make(bench)
            checked = bench.type("enactord check-config enactord.toml").exit_code
            done = bench.type(self.command)
            again = bench.type(f"{self.command} --json")  # what was refused has changed nothing
        return Said(done.exit_code, bench.said(done), checked, (again.exit_code, bench.example(again.stdout)))


def _faults(lines: list[str]) -> list[str]:
    """Return what a report tells of faults and warnings: heading, fault, and what to do, each on one line."""
    kept: list[str] = []
    heading, on = "", False
    for line in lines:
        state = re.match(r"  (\w+)", line)
        if not line.startswith(" "):
            heading, on = line, False
        elif state:
            on = state[1] in ("fault", "warning")
            kept += [heading] if on and heading not in kept else []
        if on and (state or line.strip().startswith("do: ")):
            kept.append(line)
        elif on:
            kept[-1] += f" {line.strip()}"
    return kept
