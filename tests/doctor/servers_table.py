"""README's table of servers, and docs/conformance.md: what the trials of conformance say of each server."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from enactord.operations.conformance import Conformance, Target, Verdict, conform
from enactord.wire.tsig import TsigKey
from tests.contract.sites.base import FixedClock
from tests.docs.markdown import code, table
from tests.servers.bind import Bind
from tests.servers.dns_server import FOREIGN_SECRET, DnsServer
from tests.servers.embedded import Embedded
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- Made by `make conformance`; do not edit. -->", "<!-- End of what is made. -->"
SERVERS: dict[str, type[DnsServer]] = {"BIND": Bind, "Knot DNS": Knot, "PowerDNS": PowerDns, "embedded": Embedded}
_ZONE = "conformance.test."
_INTRODUCTION = """\
# Conformance

What `enactorctl doctor --conformance` says of each server. Every property is tried on the server itself, with a key
that may write every type. A server qualifies if it has all properties that are needed. To try a server of yours, give
it a zone that is meant for it, and a key:

```
tsig-keygen -a hmac-sha256 try > try.key
enactorctl doctor --conformance try.example.com --server 192.0.2.53:53 --key-file try.key
```
"""


async def results() -> dict[str, Conformance]:
    """Try every server. Raises `ZoneDown`."""
    found = {}
    for name, kind in SERVERS.items():
        with kind([_ZONE]) as server:
            key = TsigKey(name="foreign.", algorithm="hmac-sha256", secret=base64.b64decode(FOREIGN_SECRET))
            target = Target(zone=_ZONE, host=server.host, port=server.port, key=key)
            tried = await conform(target, FixedClock())
            assert isinstance(tried, Conformance)
            found[name] = tried
    return found


def readme_rows(found: dict[str, Conformance]) -> list[str]:
    """Return the lines of README's table."""
    rows = []
    for name, tried in found.items():
        counts = f"{sum(result.verdict is Verdict.PASS for result in tried.results)} of {len(tried.results)}"
        lacks = ", ".join(code(result.name) for result in tried.results if result.verdict is not Verdict.PASS)
        rows.append([_named(name, tried), "yes" if tried.qualifies else "**no**", counts, lacks])
    return table(("server", "qualifies", "properties", "lacks"), rows)


def page(found: dict[str, Conformance]) -> str:
    """Return docs/conformance.md."""
    some = next(iter(found.values()))
    rows = [
        [code(result.name), result.title, "yes" if result.needed else "", *_verdicts(found, number)]
        for number, result in enumerate(some.results)
    ]
    head = ("property", "what it is", "needed", *(_named(name, tried) for name, tried in found.items()))
    lines = [
        "<!-- Made by `make conformance`; do not edit. -->",
        "",
        *_INTRODUCTION.splitlines(),
        "",
        *table(head, rows),
    ]
    for name, tried in found.items():
        for result in tried.results:
            if result.verdict is not Verdict.PASS:
                told = f"{_named(name, tried)}, {code(result.name)}: {result.evidence}. {result.meaning}"
                lines += ["", told]
    return "\n".join(lines) + "\n"


def spliced(readme: str, rows: Sequence[str]) -> str:
    """Return README with its table made anew."""
    made = "\n".join([BEGIN, "", *rows, "", END])
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: made, readme, count=1, flags=re.DOTALL)


def _verdicts(found: dict[str, Conformance], number: int) -> list[str]:
    return [tried.results[number].verdict.value for tried in found.values()]


def _named(name: str, tried: Conformance) -> str:
    """Return a server with the first two numbers of its version, which its fixes do not change."""
    version = re.search(r"\d+\.\d+", tried.version)
    return f"{name} {version[0]}" if version else name
