"""What is ordered from a laptop: carried out by the enactor, under the token's name, as far as its role goes."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from enactord.core.records import Records
from tests.http.laptop import Laptop
from tests.http.site import Site, serving
from tests.tokens import bearer, tokens
from tests.world import ZONE, World, fleet, plan

NAME = f"n00001.{ZONE}"
OURS = tokens(alice="operator", bob="operator", planner_1="planner", viewer_1="viewer")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.add("a")
    await made.publish(plan(fleet(10, 1)))
    await made.applied(1)
    yield made
    await made.close()


@pytest.fixture
async def laptop(world: World, tmp_path: Path) -> AsyncIterator[Laptop]:
    async with serving(world.members["a"], tokens=OURS) as site:
        yield Laptop(site.url, tmp_path)


def file(folder: Path, document: Mapping[str, Any]) -> str:
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    return str(path)


async def test_a_freeze_and_a_pause_are_of_the_token(world: World, laptop: Laptop) -> None:
    """The author is the token's name; another one is refused, and nothing is done then."""
    assert "the name of the token" in (await laptop.no(1, "freeze", "--reason", "x", "--author", "eve"))["message"]
    assert (await world.view()).freeze is None
    assert "frozen (repair-only) by alice: INC" in await laptop.says("freeze", "--repair-only", "--reason", "INC")
    assert (await laptop.ok("status"))["frozen"]["author"] == "alice"
    assert "thawed; was frozen by alice" in await laptop.says("thaw", "--author", "alice", bearer="alice")
    assert "planner default is paused" in await laptop.says("planner", "pause", "--reason", "rebuild")
    await world.until(lambda: world.members["a"].enactor.cache.paused)
    assert "paused since" in await laptop.says("planners")
    assert "goes on; was paused by alice" in await laptop.says("planner", "resume")
    acts = (await laptop.ok("audit"))["audit"]
    assert [(act["deed"], act["author"], act["role"]) for act in acts] == [
        (deed, "alice", "operator") for deed in ("resume", "pause", "thaw", "freeze")
    ]


async def test_a_plan_is_published_tried_refused_and_approved(world: World, laptop: Laptop, tmp_path: Path) -> None:
    """With the words of the command line: what is refused there is refused here, and an operator approves it."""
    path = file(tmp_path, plan(fleet(11, 1), author=""))
    tried = await laptop.ok("publish", path, "--dry-run")
    assert (tried["dry_run"], tried["counts"]["added"], len(tried["diff"]["added"])) == (True, 1, 1)
    assert "guard endpoints_removed: 0 of 10" in await laptop.says("publish", path, "--dry-run")
    assert (await world.view()).head == 1
    assert "published generation 2" in await laptop.says("publish", path)
    shrunk = file(tmp_path, plan(fleet(2, 1)))
    error = await laptop.no(1, "publish", shrunk)
    assert [refusal["guard"] for refusal in error["refusals"]] == ["endpoints_removed"]
    held = file(tmp_path, plan(fleet(11, 1) | {NAME: []}))
    assert (await laptop.no(1, "publish", held, "--fail-on-held"))["refusals"][0]["guard"] == "targets_min"
    done = await laptop.run("publish", held)
    assert (done.exit_code, f"will be held: {NAME}: targets_min" in done.stderr) == (0, True)
    shrunk = file(tmp_path, plan(fleet(2, 1), author="planner-x"))
    approved = await laptop.ok("publish", shrunk, "--approve", "--reason", "half is rebuilt")
    assert approved["approval"] == {"of": 0, "author": "alice", "reason": "half is rebuilt", "digest": "", "names": []}
    again = await laptop.ok("publish", "1", "--approve", "--reason", "it was right", bearer="bob")
    assert (again["approval"]["of"], again["approval"]["author"]) == (1, "bob")
    assert "--confirm-within" in (await laptop.no(2, "publish", path, "--confirm-within", "5"))["message"]
    junk = tmp_path / "junk.json"
    junk.write_text("{")
    assert (await laptop.no(1, "publish", str(junk)))["kind"] == "plan"
    await world.applied(again["generation"])
    assert world.serves(fleet(10, 1))


async def test_a_plan_that_is_too_large_is_told(world: World, tmp_path: Path) -> None:
    """The enactor answers before it has all of it: that is no broken connection."""
    path = file(tmp_path, plan(fleet(20_000)))
    async with serving(world.members["a"], tokens=OURS, plan_bytes_max=1000) as site:
        error = await Laptop(site.url, tmp_path).no(2, "publish", path)
    assert "at most 1,000 bytes" in error["message"]


async def test_a_rollback_is_tried_and_done(world: World, laptop: Laptop) -> None:
    """By generation, by time, and to the last whole plan; the planner is paused unless told otherwise."""
    await world.publish(plan(fleet(10, 2)))
    await world.applied(2)
    tried = await laptop.ok("rollback", "1", "--reason", "x", "--dry-run")
    assert (tried["rollback_of"], tried["dry_run"], (await world.view()).head) == (1, True, 2)
    done = await laptop.ok("rollback", "1", "--reason", "x", "--no-pause")
    assert (done["generation"], done["rollback_of"], done["author"], done["reason"]) == (3, 1, "alice", "x")
    assert not (await world.view()).paused
    assert (await laptop.no(1, "rollback", "--to-time", "900d", "--reason", "x"))["refusals"][0]["guard"] == "history"
    assert (await laptop.no(1, "rollback", "--to-last-whole", "--reason", "x"))["refusals"][0]["guard"] == "history"
    await world.applied(3)
    assert (await laptop.ok("rollback", "2", "--reason", "x"))["warnings"]
    assert (await world.view()).paused


async def test_a_limit_is_set(world: World, laptop: Laptop) -> None:
    """As it is typed; what no limit takes is wrong usage, as by the config."""
    said = await laptop.says("limits", "set", "endpoints_removed_max_ratio", "0.5", "--reason", "a move")
    assert said == "endpoints_removed_max_ratio: 0.2 -> 0.5\n"
    await world.until(lambda: world.members["a"].enactor.ruling.author == "alice")
    document = await laptop.ok("limits")
    assert (document["author"], document["reason"]) == ("alice", "a move")
    assert "set by alice" in await laptop.says("limits")
    error = await laptop.no(2, "limits", "set", "endpoint_removed", "1", "--reason", "x")
    assert "did you mean" in error["message"]


async def test_plans_are_pruned_and_the_log_tells(world: World, laptop: Laptop) -> None:
    for generation in range(2, 7):
        await world.publish(plan(fleet(10, generation)))
        await world.applied(generation)
    would = await laptop.ok("prune", "--dry-run", bearer="viewer_1")
    assert would["dry_run"]
    error = await laptop.no(1, "prune", bearer="viewer_1")
    assert error["kind"] == "role"
    done = await laptop.ok("prune")
    assert done["pruned"] == would["pruned"] != []
    assert "plans pruned" in await laptop.says("prune")
    (act,) = [act for act in (await laptop.ok("audit"))["audit"] if act["deed"] == "prune"]
    assert (act["author"], act["facts"]["count"]) == ("alice", len(done["pruned"]))


async def test_a_name_is_adopted(world: World, laptop: Laptop) -> None:
    """One that somebody else has put there, and a plan holds."""
    name = f"theirs.{ZONE}"
    records = Records(ttl_s=60, a=(bytes([10, 9, 9, 9]),), aaaa=())
    world.servers[ZONE].put_foreign(name, records=records)
    await world.publish(plan(fleet(10, 1) | {name: ["10.9.9.9"]}))
    assert (await world.held(name)).guard == "foreign"
    assert f"adopted {name}  ttl 60 s: 10.9.9.9" in await laptop.says("adopt", name, "--reason", "ours now")
    assert (await laptop.no(1, "adopt", name))["refusals"][0]["guard"] == "owned"
    (act,) = [act for act in (await laptop.ok("audit"))["audit"] if act["deed"] == "adopt"]
    assert (act["author"], act["reason"]) == ("alice", "ours now")


async def test_what_drifted_is_found_and_put_back(tmp_path: Path) -> None:
    """A viewer may look, an operator put back; the enactor itself would look much later."""
    world = World(repair_interval_s=3600.0)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    async with serving(member, tokens=OURS) as site:
        laptop = Laptop(site.url, tmp_path)
        assert (await laptop.ok("verify", bearer="viewer_1"))["sound"]
        world.servers[ZONE].put_foreign(NAME)
        done = await laptop.run("verify", bearer="viewer_1")
        assert (done.exit_code, NAME in done.output, "1 not as the ledger has them" in done.output) == (1, True, True)
        assert (await laptop.no(1, "verify", "--repair", bearer="planner_1"))["kind"] == "role"
        assert (await laptop.ok("verify", "--repair"))["repaired"] == [NAME]
        assert world.serves(fleet(10, 1))
        assert [act["deed"] for act in (await laptop.ok("audit"))["audit"]] == ["repair"]
    await world.close()


async def test_a_token_does_what_its_role_may(world: World, laptop: Laptop, tmp_path: Path) -> None:
    """A planner publishes, and no more; without a token everybody reads, and nobody writes."""
    path = file(tmp_path, plan(fleet(10, 2)))
    assert (await laptop.ok("publish", path, bearer="planner_1"))["author"] == "planner_1"
    for words in (
        ("freeze", "--reason", "x"),
        ("thaw",),
        ("limits", "set", "targets_min", "2", "--reason", "x"),
        ("planner", "pause", "--reason", "x"),
        ("override", NAME, "--pin", "--for", "1h", "--reason", "x"),
        ("override", "end", "0a1b2c"),
        ("rollback", "1", "--reason", "x"),
        ("publish", path, "--approve", "--reason", "x"),
        ("publish", "1", "--approve", "--reason", "x"),
        ("adopt", NAME),
        ("prune",),
        ("verify", "--repair"),
    ):
        error = await laptop.no(1, *words, bearer="planner_1")
        assert error["kind"] == "role", words
        assert "token planner_1 has the role planner, and this needs operator" in error["message"], words
        assert (await laptop.no(2, *words, bearer=""))["kind"] == "token", words
    assert (await laptop.no(1, "publish", path, bearer="viewer_1"))["kind"] == "role"
    assert (await laptop.no(2, "verify", bearer=""))["kind"] == "token"
    assert (await laptop.ok("status", bearer=""))["scope"] == "test"


async def test_reading_needs_the_token_where_the_config_says_so(world: World, tmp_path: Path) -> None:
    async with serving(world.members["a"], tokens=OURS, read_needs_token=True) as site:
        laptop = Laptop(site.url, tmp_path)
        for words in (("status",), ("endpoints",), ("watch", "--for", "1")):
            error = await laptop.no(2, *words, bearer="")
            assert (error["kind"], "--token-file FILE" in error["message"]) == ("token", True)
            await laptop.ok(*words, bearer="viewer_1")


async def test_news_are_told_as_they_happen(world: World, tmp_path: Path) -> None:
    """As one array, without what belongs to the stream alone; what the enactor saw is told, too. Ctrl-C ends it."""
    async with serving(world.members["a"], tokens=OURS) as site:
        listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell in the background has it ignored
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "enactord.cli.ctl", "--url", site.url, "watch", "--json"),
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=listening,
        )
        try:
            assert watching.stdout is not None
            await followed(world, site)
            laptop = Laptop(site.url, tmp_path)
            await laptop.ok("publish", file(tmp_path, plan(fleet(10, 2))))
            await world.applied(2)
            world.servers[ZONE].put_foreign(NAME)
            told = b""
            async with asyncio.timeout(60):
                while b"endpoint.repaired" not in told or b"plan.applied" not in told:  # each comes at its own pace
                    told += await watching.stdout.read(65_536)
            watching.send_signal(signal.SIGINT)
            told += await watching.stdout.read()
            assert await watching.wait() == 0
        finally:
            if watching.returncode is None:
                watching.kill()
                await watching.wait()
    news = json.loads(told)
    assert {"plan.published", "fence.opened", "plan.applied"} <= {event["event"] for event in news}
    assert all({"event", "severity", "text"} <= event.keys() and not {"id", "at"} & event.keys() for event in news)


async def test_a_watch_ends_with_its_enactor(world: World, tmp_path: Path) -> None:
    """It says so, with exit 3: what happens from then on is not told."""
    async with serving(world.members["a"], tokens=OURS) as site:
        watching = asyncio.create_task(Laptop(site.url, tmp_path).run("watch", bearer=""))
        await followed(world, site)
        site.feed.close()
        done = await watching
    assert done.exit_code == 3
    assert "ended its stream of events" in done.output


async def followed(world: World, site: Site) -> None:
    """Wait until somebody follows the events."""
    await world.until(lambda: site.pages._streams.clients == 1, timeout_s=60)


async def test_what_guards_refuse_is_seen_and_approved_from_a_laptop(
    world: World, laptop: Laptop, tmp_path: Path
) -> None:
    """By the digest that the refusal names; and the laptop waits until it is served."""
    shrunk = file(tmp_path, plan(fleet(2, 1)))
    said = await laptop.run("publish", shrunk)
    mark = said.stderr.split("it is kept as ")[1].split(";")[0]
    await world.until(lambda: world.members["a"].enactor.cache.contributions)
    assert (await laptop.ok("refused"))["refused"][0]["author"] == "alice"
    assert [change["name"] for change in (await laptop.ok("diff", mark))["removed"]] == sorted(fleet(10))[2:]
    assert (await laptop.ok("publish", "--approve", mark, "--reason", "-", "--dry-run"))["dry_run"]
    done = await laptop.ok("publish", "--approve", mark, "--reason", "closed", "--wait")
    assert (done["waited"]["served"], done["approval"]["digest"][:16]) == (True, mark)
    assert (await laptop.no(1, "diff", mark))["refusals"]


async def test_an_endpoint_is_overridden_from_a_laptop(world: World, laptop: Laptop) -> None:
    """And its override is listed, shown with the endpoint, and ended."""
    some = {name: ["192.0.2.1", "192.0.2.2", "192.0.2.3"] for name in fleet(10)}
    await world.publish(plan(some))
    await world.applied(2)
    words = ("--drain", "192.0.2.1", "--for", "1h", "--reason", "fire")
    assert (await laptop.ok("override", NAME, *words, "--dry-run"))["dry_run"]
    done = await laptop.ok("override", NAME, *words, "--wait")
    assert (done["override"]["what"], done["waited"]["served"]) == ("drain 192.0.2.1", True)
    assert world.servers[ZONE].serve(NAME).texts() == ("192.0.2.2", "192.0.2.3")
    ident = done["override"]["id"]
    assert [one["id"] for one in (await laptop.ok("override", "list"))["overrides"]] == [ident]
    assert (await laptop.ok("endpoints", NAME))["endpoints"][0]["overrides"][0]["author"] == "alice"
    bad = ("override", NAME, "--drain", "192.0.2.99", "--for", "1h", "--reason", "x")
    assert "none of its targets" in (await laptop.no(1, *bad))["refusals"][0]["detail"]
    for wrong in ({"kind": "drain", "weight": 7}, {"kind": "weight"}, {"kind": "drain", "lasts_s": 10**400}):
        order = {"name": NAME, "address": "192.0.2.2", "lasts_s": 60, "reason": "x"} | wrong
        async with aiohttp.ClientSession() as client:
            answer = await client.post(f"{laptop.url}/api/v1/overrides", json=order, headers=bearer("alice"))
            assert answer.status == 400, await answer.text()
    assert (await laptop.ok("override", "end", ident, "--reason", "over", "--wait"))["waited"]["served"]
    assert world.servers[ZONE].serve(NAME).texts() == ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    assert (await laptop.no(1, "override", "end", ident))["refusals"][0]["guard"] == "override"


async def test_an_enactor_without_its_store_is_not_shown_as_well(world: World, laptop: Laptop) -> None:
    """What it knows itself counts, at once; and whatever else it shows is told to be of before."""
    member = world.members["a"]
    assert (await laptop.ok("status", "--check"))["problems"] == []
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    done = await laptop.run("status", "--check")
    assert done.exit_code == 1, done.output
    assert "degraded (a): store: " in done.stdout
    assert "what it shows is of before" in done.stderr
    assert "what it shows is of before" in (await laptop.run("plans")).stderr
    member.store.mend()
    await world.until(lambda: member.enactor.store_up)
    assert "of before" not in (await laptop.run("plans")).stderr


async def test_nothing_is_stored_in_a_store_that_is_not_the_enactors(
    world: World, laptop: Laptop, tmp_path: Path
) -> None:
    """What is published into a wiped store would be gone once the store is restored."""
    member = world.members["a"]
    member.enactor.health.store_is_refused("the plan store is empty: enactorctl restore --from-copy")
    words: list[tuple[str, ...]] = [("publish", file(tmp_path, plan(fleet(10, 2)))), ("rollback", "1", "--reason", "x")]
    for order in (*words, ("freeze", "--reason", "x")):
        told = (await laptop.no(3, *order))["message"]
        assert "nothing is stored: the plan store is empty" in told, order
