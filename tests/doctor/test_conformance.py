"""The trials of conformance: real servers, a proxy that breaks one promise at a time, and what is left in the zone."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.tsig
import dns.zone
import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import main as ctl
from enactord.core.errors import ZoneDown
from enactord.core.fence import NO_PLAN, Fence
from enactord.operations.conformance import Conformance, Target, Verdict, conform
from enactord.operations.conformance.bench import NXRRSET, YXRRSET, Bench
from enactord.operations.conformance.run import LABELS, PROPERTIES, Lock
from enactord.operations.scope import Denied
from enactord.wire.answer import TYPE_TXT
from enactord.wire.plain_update import text
from enactord.wire.tsig import TsigKey
from tests.contract.sites.base import FixedClock
from tests.daily import daily
from tests.doctor.desk import ZONE, Desk, raise_fence
from tests.servers.bind import Bind
from tests.servers.dns_server import FOREIGN_SECRET, SECRET, DnsServer, free_port
from tests.servers.embedded import Embedded
from tests.servers.knot import Knot
from tests.servers.liar import HALF_LIES, LIES, Liar, kept, lost
from tests.servers.powerdns import PowerDns
from tests.servers.secondaries import ListedBind

APEX = f"enactord-conformance.{ZONE}"
FOREIGN = TsigKey(name="foreign.", algorithm="hmac-sha256", secret=base64.b64decode(FOREIGN_SECRET))
"""A key that may write every type, so that CNAMEs are tried, too."""


@pytest.fixture(scope="module", params=[Bind, Knot, PowerDns, Embedded], ids=lambda kind: kind.__name__.lower())
def server(request: pytest.FixtureRequest) -> Iterator[DnsServer]:
    with request.param([ZONE]) as server:
        yield server


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind([ZONE]) as server:
        yield server


async def tried(port: int, *, take_over: bool = False, timeout_s: float = 5.0) -> Conformance | Denied:
    target = Target(zone=ZONE, host="127.0.0.1", port=port, key=FOREIGN, timeout_s=timeout_s)
    return await conform(target, FixedClock(), take_over=take_over)


def names_in(server: DnsServer) -> set[str]:
    """Return the names of the zone's records, by a transfer that the key "enactor" may make."""
    name = dns.name.from_text("enactor.")
    keyring = {name: dns.tsig.Key(name, base64.b64decode(SECRET), dns.tsig.HMAC_SHA256)}
    sent = dns.query.xfr(server.host, ZONE, port=server.port, keyring=keyring, keyname=name, relativize=False)
    found = dns.zone.from_xfr(sent, relativize=False)
    return {name.to_text() for name in found.nodes}


async def test_a_real_server_has_every_property(server: DnsServer) -> None:
    """All that enactord is run on qualifies. PowerDNS alone compares texts without their capitals."""
    found = await tried(server.port)
    assert isinstance(found, Conformance)
    wrong = {result.name: result.evidence for result in found.results if result.verdict is not Verdict.PASS}
    if isinstance(server, PowerDns):
        assert "NXRRSET" in wrong.pop("case")
    assert wrong == {}
    assert found.qualifies
    assert found.left == ""
    words = {"Bind": "9.", "Knot": "Knot", "PowerDns": "PowerDNS", "Embedded": ""}
    assert words[type(server).__name__] in found.version


async def test_a_zone_is_left_as_it_was(bind: Bind) -> None:
    """No name of a trial is left."""
    before = names_in(bind)
    assert isinstance(await tried(bind.port), Conformance)
    assert names_in(bind) == before


def test_every_property_has_its_lie() -> None:
    """A trial that nothing can fail proves nothing."""
    assert {each.name for each in PROPERTIES} == set(LIES) - {""}


@pytest.mark.parametrize("lie", daily(LIES, [lie for lie in list(LIES)[::3] if lie != "reads"]))
async def test_a_broken_promise_is_found_and_no_other(bind: Bind, lie: str) -> None:
    """What rests on it is not tried; everything else passes."""
    async with Liar(bind.host, bind.port, FOREIGN, lie) as liar:
        found = await tried(liar.port, timeout_s=3.0)
    assert isinstance(found, Conformance)
    failed = {result.name: result.evidence for result in found.results if result.verdict is Verdict.FAIL}
    assert set(failed) == {lie} - {""}, failed
    unknown = {result.name for result in found.results if result.verdict is Verdict.UNKNOWN}
    assert unknown == _resting_on(lie)
    assert all(result.meaning for result in found.results if result.verdict is not Verdict.PASS)
    needed = {each.name for each in PROPERTIES if each.needed}
    assert found.qualifies == (not needed & {lie, *unknown})
    if lie == "acknowledged":
        return
    assert found.left == ""
    assert [name for name in names_in(bind) if name.endswith(APEX)] == []


@pytest.mark.parametrize("lie", list(HALF_LIES))
async def test_half_a_promise_is_no_promise(bind: Bind, lie: str) -> None:
    """What is refused and applied all the same is found; what has no end is not known, and never a lack."""
    _, name, verdict = HALF_LIES[lie]
    async with Liar(bind.host, bind.port, FOREIGN, lie) as liar:
        found = await tried(liar.port, timeout_s=3.0)
    assert isinstance(found, Conformance)
    ends = {result.name: result.verdict for result in found.results}
    assert ends.pop(name) == verdict, found
    resting = _resting_on(name)
    assert {each for each, end in ends.items() if end is Verdict.UNKNOWN} == resting
    assert {each for each, end in ends.items() if end is Verdict.FAIL} == set()
    needed = {each.name for each in PROPERTIES if each.needed}
    assert found.qualifies == (not needed & {name, *resting})


async def test_a_needed_trial_without_an_end_is_exit_3(tmp_path: Path, bind: Bind) -> None:
    """A lost answer is no lack of the server."""
    async with Liar(bind.host, bind.port, FOREIGN, "the answer to a write is lost") as liar:
        done = await asyncio.to_thread(run, tmp_path, liar.port)
    assert done.exit_code == 3, done.output


async def test_another_lock_than_was_seen_keeps_a_run_out(bind: Bind) -> None:
    """--yes takes over the run that was seen, and no later one; a run removes its own lock alone."""
    async with bench_of(bind.port) as bench:
        first, second = Lock(bench), Lock(bench)
        assert (await first.put(instead_of=b"")).applied
        assert (await second.put(instead_of=b"")).rcode == YXRRSET
        assert (await second.put(instead_of=text("another"))).rcode == NXRRSET
        (seen,) = (await bench.ask(bench.apex, TYPE_TXT)).rdatas
        assert (await second.put(instead_of=seen)).applied
        assert (await first.remove()).rcode == NXRRSET
        assert (await second.remove()).applied


async def test_a_lock_without_an_answer_ends_the_run(bind: Bind) -> None:
    """Nothing is tried where another run could work, too; what was written is removed."""
    async with Liar(bind.host, bind.port, FOREIGN, lost(b"works here")) as liar:
        found = await tried(liar.port, timeout_s=3.0)
    assert isinstance(found, Conformance)
    assert {result.verdict for result in found.results} == {Verdict.UNKNOWN}
    assert "no answer" in found.results[0].evidence
    assert "--yes" in found.left, "whether it was removed is not told, either"
    assert [name for name in names_in(bind) if name.endswith(APEX)] == []


async def test_a_batch_that_is_refused_is_cleaned_name_by_name(bind: Bind) -> None:
    """One name that the server refuses keeps none of the others."""
    async with Liar(bind.host, bind.port, FOREIGN, kept) as liar, bench_of(liar.port) as bench:
        for label in ("plain", "kept", "race"):
            edit(bind, bench.name(label), "A", "192.0.2.1")
        left = await bench.clean(["plain", "kept", "race"])
    assert left.startswith("kept: REFUSED")
    assert {name for name in names_in(bind) if name.endswith(APEX)} == {f"kept.{APEX}"}
    async with bench_of(bind.port) as bench:
        assert await bench.clean(["kept"]) == ""


@asynccontextmanager
async def bench_of(port: int) -> AsyncIterator[Bench]:
    bench = Bench(ZONE, "127.0.0.1", port, FOREIGN, FixedClock(), 5.0)
    try:
        yield bench
    finally:
        await bench.close()


def _resting_on(name: str) -> set[str]:
    """Return the properties that cannot be tried without one."""
    found: set[str] = set()
    for each in PROPERTIES:
        if {name, *found} & set(each.rests_on):
            found.add(each.name)
    return found


async def test_a_zone_in_use_is_left_alone() -> None:
    """A fence of any scope, or somebody's records where the trials write."""
    with Bind([ZONE]) as server:
        edit(server, f"half-3.{APEX}", "A", "192.0.2.7")
        denied = await tried(server.port)
        assert isinstance(denied, Denied)
        assert [refusal.guard for refusal in denied.refusals] == ["names"]
        await raise_fence(server.port, Fence(scope="other", generation=7, plan=NO_PLAN))
        for take_over in (False, True):
            denied = await tried(server.port, take_over=take_over)
            assert isinstance(denied, Denied)
            assert [refusal.guard for refusal in denied.refusals] == ["fence"]
        assert f"half-3.{APEX}" in names_in(server)


def test_a_server_that_is_away_is_said(tmp_path: Path) -> None:
    """No verdict at all: exit 3."""
    with pytest.raises(ZoneDown):
        asyncio.run(tried(free_port()))
    assert run(tmp_path, free_port(), "--json").exit_code == 3


def run(folder: Path, port: int, *words: str) -> Result:
    return CliRunner().invoke(ctl, arguments(folder, port, *words))


def arguments(folder: Path, port: int, *words: str) -> list[str]:
    """Return the words of the command, with the key "foreign"."""
    key = folder / "try.key"
    key.write_text(f'key "foreign" {{ algorithm hmac-sha256; secret "{FOREIGN_SECRET}"; }};\n')
    return ["doctor", "--conformance", ZONE, "--server", f"127.0.0.1:{port}", "--key-file", str(key), *words]


def edit(server: DnsServer, name: str, rtype: str, value: str) -> None:
    update = dns.update.UpdateMessage(ZONE)
    update.add(name, 30, rtype, value)
    update.use_tsig(dns.tsig.Key("foreign.", base64.b64decode(FOREIGN_SECRET), dns.tsig.HMAC_SHA256))
    assert dns.query.tcp(update, server.host, timeout=5, port=server.port).rcode() == 0


def test_the_command_tells_whether_a_server_qualifies(tmp_path: Path, bind: Bind) -> None:
    """Exit 0, a line for each property, and the server's own word; one document for programs."""
    done = run(tmp_path, bind.port)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].startswith(f"127.0.0.1:{bind.port} (9.")
    assert done.output.splitlines()[-1].endswith("qualifies")
    assert run(tmp_path, bind.port, "--json").output.count('"verdict": "pass"') == len(PROPERTIES)


async def test_the_command_tells_what_a_server_lacks(tmp_path: Path, bind: Bind) -> None:
    """Exit 1, with the property and what a lack of it does."""
    async with Liar(bind.host, bind.port, FOREIGN, "exact") as liar:
        done = await asyncio.to_thread(run, tmp_path, liar.port)
    assert done.exit_code == 1, done.output
    assert "does not qualify: exact fail, race unknown" in done.output


def test_a_key_without_rights_gives_no_verdict(tmp_path: Path) -> None:
    """That the server refuses is not the server's lack: exit 3, and what to permit."""
    with ListedBind([ZONE]) as server:
        key = tmp_path / "try.key"
        key.write_text(f'key "enactor" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n')
        words = ["--server", f"127.0.0.1:{server.port}", "--key-file", str(key), "--json"]
        done = CliRunner().invoke(ctl, ["doctor", "--conformance", ZONE, *words])
    assert done.exit_code == 3, done.output
    found = {result["name"]: result for result in json.loads(done.output)["results"]}
    assert f"let the key update {APEX}" in found["acknowledged"]["evidence"]
    assert {result["verdict"] for result in found.values()} == {"unknown"}


def test_the_zone_of_a_config_is_tried(tmp_path: Path, bind: Bind) -> None:
    """With the server and the key that it has; another zone is usage, with those that it has."""
    desk = Desk(tmp_path, servers=[bind.port])
    desk.write()
    words = ["--config", str(desk.path), "doctor", "--conformance"]
    done = CliRunner().invoke(ctl, [*words, ZONE])
    assert done.exit_code == 0, done.output
    assert "permit the type to try it" in " ".join(done.output.split()), "its key may write no CNAME"
    done = CliRunner().invoke(ctl, [*words, "other.test."])
    assert done.exit_code == 2
    assert ZONE in done.output


def test_options_that_miss_each_other_are_usage(tmp_path: Path) -> None:
    """Exit 2, with what goes together."""
    for words in (["--server", "127.0.0.1:53"], ["--yes"], ["--conformance", ZONE, "--server", "127.0.0.1:53"]):
        done = CliRunner().invoke(ctl, ["doctor", *words])
        assert done.exit_code == 2
        assert "together" in done.output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_trial_that_is_cut_off_leaves_nothing_or_says_so(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C cleans up. What a kill leaves keeps the next run out, until --yes removes it."""
    with Knot([ZONE]) as server:
        before = names_in(server)
        command = [sys.executable, "-m", "enactord.cli.ctl", *arguments(tmp_path, server.port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while f"plain.{APEX}" not in names_in(server):
            assert process.poll() is None, "it ended before it could be cut off"
            assert time.monotonic() < deadline
        process.send_signal(how)
        process.wait(30)
        if how is signal.SIGINT:
            assert process.returncode == 130
        else:
            assert f"{APEX}" in names_in(server)
            done = run(tmp_path, server.port)
            assert done.exit_code == 1
            assert "--yes" in done.output
            assert run(tmp_path, server.port, "--yes").exit_code == 0
        assert names_in(server) == before


def test_names_are_told_apart() -> None:
    """Each trial has names of its own, and all of them are cleaned up."""
    assert len(set(LABELS)) == len(LABELS)
