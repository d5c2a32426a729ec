"""enactorctl and planner-stub over a SQLite store: answers, exit codes, and one JSON document each."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import VERBS
from enactord.cli.ctl import main as ctl
from enactord.core.kv import Delete
from enactord.core.moment import utc
from enactord.core.plan import read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from planner_stub.cli import main as stub
from tests.world import SCOPE, ZONE, WallClock, World, fleet, plan

CONFIG = """
[enactor]
id = "e1"
scope = "{scope}"
state_dir = "{directory}/state"

[store]
url = "{url}"

[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "127.0.0.1:9"
tsig_name = "enactord."
tsig_algorithm = "hmac-sha256"
tsig_secret_file = "{directory}/tsig.secret"

[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
velocity_window_s = 0

[prune]
keep_plans = 1
keep_s = 0
"""


@dataclass
class Desk:
    """A scope on disk, and the two programs to work on it with."""

    directory: Path
    url: str
    servers: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "enactord.toml"

    def run(self, *arguments: str, program: Any = ctl, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(program, list(arguments), input=stdin, env={"ENACTORD_CONFIG": str(self.config)})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def ok(self, *arguments: str, program: Any = ctl) -> Any:
        """Run with --json, expect exit 0; returns the document."""
        result = self.run(*arguments, "--json", program=program)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def no(self, code: int, *arguments: str, program: Any = ctl) -> Any:
        """Run with --json, expect that exit code; returns the error."""
        result = self.run(*arguments, "--json", program=program)
        assert result.exit_code == code, result.output
        document = json.loads(result.stdout)
        assert list(document) == ["error"]
        return document["error"]

    def file(self, document: Any, name: str = "plan.json") -> str:
        path = self.directory / name
        path.write_text(json.dumps(document))
        return str(path)

    def publish(self, endpoints: dict[str, list[str]], *options: str, **changes: Any) -> Any:
        return self.ok("publish", self.file(plan(endpoints, **changes)), *options)

    def enact(self, done: Callable[[World], bool] | None = None) -> None:
        """Let an enactor apply the newest plan (or work until something holds), then end it."""

        async def enact() -> None:
            world = World()
            world.servers = self.servers or world.servers
            self.servers = world.servers
            world.store = await open_store(self.url)  # type: ignore[assignment]
            world.plans._store = world.store
            member = await world.add("e1")
            if done is None:
                await world.applied((await world.plans.newest())[0])
            else:
                await world.until(lambda: member.enactor.cache.loaded and done(world))
            await world.close()
            await world.store.close()

        asyncio.run(enact())


def settled_but_held(world: World) -> bool:
    """One endpoint is held, and all others are applied: the hold alone may come first."""
    totals = world.members["e1"].enactor.cache.ledger.totals
    return totals.held == 1 and totals.pending == 0 and totals.owned == totals.entries - 1


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "tsig.secret").write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=\n")
    (tmp_path / "tsig.secret").chmod(0o600)
    (tmp_path / "state").mkdir()
    url = f"sqlite://{tmp_path}/store.db"
    (tmp_path / "enactord.toml").write_text(CONFIG.format(scope=SCOPE, directory=tmp_path, url=url, zone=ZONE))
    return Desk(directory=tmp_path, url=url)


def test_publish_prints_the_generation_it_was_given(desk: Desk) -> None:
    """People read one line; programs find generation and digest; a given generation is kept."""
    result = desk.run("publish", desk.file(plan(fleet(3))))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("published generation 1, digest ")
    assert "3 endpoints" in result.stdout
    assert desk.publish(fleet(3), generation=103)["generation"] == 103


def test_publish_reads_stdin(desk: Desk) -> None:
    """A dash means stdin."""
    result = desk.run("publish", "-", stdin=json.dumps(plan(fleet(3))).encode())
    assert result.exit_code == 0, result.output


def test_publish_dry_run_shows_and_stores_nothing(desk: Desk) -> None:
    """A dry run says what would change; the plan is not there afterwards."""
    document = desk.publish(fleet(3), "--dry-run")
    assert document["dry_run"]
    assert document["counts"] == {"added": 3, "changed": 0, "removed": 0, "held": 0}
    assert [change["name"] for change in document["diff"]["added"]] == sorted(fleet(3))
    assert desk.ok("plans") == {"plans": []}


def test_publish_refusals_are_exit_1_and_name_the_fix(desk: Desk) -> None:
    """Removal of too many is refused, stores nothing, and names --approve."""
    desk.publish(fleet(10))
    desk.enact()
    error = desk.no(1, "publish", desk.file(plan(fleet(2))))
    assert [refusal["guard"] for refusal in error["refusals"]] == ["endpoints_removed"]
    assert "--approve" in error["message"]
    assert len(desk.ok("plans")["plans"]) == 1
    error = desk.no(1, "publish", desk.file({"schema": "other", "scope": SCOPE, "x": 1}))
    assert len(error["problems"]) == 3


def test_publish_warns_of_what_will_be_held(desk: Desk) -> None:
    """An endpoint that a guard holds does not block the plan: a warning, and exit 0."""
    document = desk.publish(fleet(3) | {f"empty.{ZONE}": []})
    assert [(held["name"], held["guard"]) for held in document["held"]] == [(f"empty.{ZONE}", "targets_min")]
    result = desk.run("publish", desk.file(plan(fleet(3) | {f"empty.{ZONE}": []})))
    assert f"will be held: empty.{ZONE}: targets_min" in result.stderr


def test_publish_approves_a_file_or_a_generation(desk: Desk) -> None:
    """--approve needs a reason; with it the refused plan passes, and the approval is kept."""
    desk.publish(fleet(10))
    desk.enact()
    shrunk = desk.file(plan(fleet(2)))
    assert "--reason" in desk.no(2, "publish", shrunk, "--approve")["message"]
    done = desk.ok("publish", shrunk, "--approve", "--reason", "moved", "--author", "op")
    assert done["approval"]["author"] == "op"
    desk.enact()
    again = desk.ok("publish", "1", "--approve", "--reason", "back", "--author", "op")
    assert again["approval"]["of"] == 1
    assert any("superseded" in warning for warning in again["warnings"])
    assert "rollback" in desk.no(2, "publish", "1")["message"]
    assert desk.no(1, "publish", "99", "--approve", "--reason", "x")["refusals"][0]["guard"] == "generation"


def test_rollback_is_a_new_generation(desk: Desk) -> None:
    """The old content comes back under a new number, with its reason."""
    first = desk.publish(fleet(3))
    desk.publish(fleet(3, 2))
    done = desk.ok("rollback", "1", "--reason", "wrong balancers")
    assert done["generation"] == 3
    assert done["rollback_of"] == 1
    assert done["digest"] == first["digest"]
    assert done["reason"] == "wrong balancers"
    desk.no(1, "rollback", "99", "--reason", "x")
    desk.no(2, "rollback", "1")


def test_a_rollback_is_an_order_and_no_guard_is_in_its_way(desk: Desk) -> None:
    """It says what the guard would have said of any other plan, and is published and applied."""
    desk.publish(fleet(1))
    desk.publish(fleet(10))
    desk.enact()
    done = desk.ok("rollback", "1", "--reason", "x")
    assert done["rollback_of"] == 1
    assert done["approval"] is None
    assert any("passes the guard endpoints_removed: 9 of 10" in warning for warning in done["warnings"])
    desk.enact()
    assert len(desk.ok("endpoints")["endpoints"]) == 1


def test_a_rollback_finds_the_plan_by_time_or_by_size(desk: Desk) -> None:
    desk.publish(fleet(10))
    desk.publish(fleet(9))
    time.sleep(1.1)
    desk.publish(fleet(9))
    published = {plan["generation"]: plan["published_at"] for plan in desk.ok("plans")["plans"]}
    done = desk.ok("rollback", "--to-time", utc(published[2]), "--reason", "x", "--dry-run")
    assert done["rollback_of"] == 2  # its own time, as it is shown to the second
    assert desk.ok("rollback", "--to-last-whole", "--reason", "x")["rollback_of"] == 1
    refused = desk.no(1, "rollback", "--to-last-whole", "--reason", "x")["refusals"][0]
    assert refused["guard"] == "history"
    assert "the last whole plan is plan 4, which is the newest already" in refused["detail"]
    refused = desk.no(1, "rollback", "--to-time", "1d", "--reason", "x")["refusals"][0]
    assert "is not in the store: its history begins at" in refused["detail"]
    desk.no(2, "rollback", "--reason", "x")
    desk.no(2, "rollback", "1", "--to-time", "1d", "--reason", "x")
    desk.no(2, "rollback", "--to-time", "yesterday", "--reason", "x")


def test_freeze_shows_in_status_until_thaw(desk: Desk) -> None:
    """A freeze has a mode, a reason and an author; thaw tells what it undid."""
    desk.ok("freeze", "--repair-only", "--reason", "INC-1", "--author", "op")
    frozen = desk.ok("status")["frozen"]
    assert (frozen["mode"], frozen["reason"], frozen["author"]) == ("repair-only", "INC-1", "op")
    assert "FROZEN (repair-only)" in desk.run("status").stdout
    assert desk.ok("thaw")["before"]["reason"] == "INC-1"
    assert desk.ok("status")["frozen"] is None
    assert desk.ok("thaw")["before"] is None


def test_status_check_exits_1_when_not_well(desk: Desk) -> None:
    """Without an enactor nothing is applied; the document says why in either case."""
    desk.publish(fleet(3))
    assert desk.ok("status")["problems"][0].startswith("no enactor is alive")
    result = desk.run("status", "--check", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]
    assert "no enactor is alive" in desk.run("status", "--check").stdout


def test_publish_can_refuse_what_would_be_held(desk: Desk) -> None:
    desk.publish(fleet(3))
    path = desk.directory / "held.json"
    document = plan(fleet(3))
    document["endpoints"][f"n00001.{ZONE}"]["targets"] = []
    path.write_text(json.dumps(document))
    assert desk.no(1, "publish", str(path), "--fail-on-held")["refusals"][0]["guard"] == "targets_min"
    assert desk.ok("status")["head"] == 1
    assert desk.ok("publish", str(path))["generation"] == 2


def test_status_shows_zones_and_endpoints(desk: Desk) -> None:
    """Fence and applied generation by zone, endpoints by state."""
    desk.publish(fleet(5))
    assert desk.ok("status")["zones"][0]["state"] == "never opened"
    desk.enact()
    status = desk.ok("status")
    assert (status["head"], status["zones"][0]["fence"], status["zones"][0]["applied"]) == (1, 1, 1)
    assert status["endpoints"]["applied"] == 5
    assert "newest plan 1" in desk.run("status").stdout


def test_plans_show_and_diff(desk: Desk) -> None:
    """Newest first; a plan with its content on --full; what leads from one to another, sorted."""
    desk.publish(fleet(3), author="p1")
    changed = fleet(2) | {f"n00001.{ZONE}": ["10.9.9.9", "10.9.9.8"], f"a.{ZONE}": ["10.9.9.7"]}
    desk.publish(changed)
    assert [found["generation"] for found in desk.ok("plans")["plans"]] == [2, 1]
    assert desk.ok("show", "1")["author"] == "p1"
    full = desk.ok("show", "1", "--full")["content"]
    assert sorted(full) == sorted(fleet(3))
    found = desk.ok("diff", "1", "2")
    assert [change["name"] for change in found["added"]] == [f"a.{ZONE}"]
    assert [change["name"] for change in found["removed"]] == [f"n00002.{ZONE}"]
    assert [change["name"] for change in found["changed"]] == [f"n00001.{ZONE}"]
    assert len(desk.ok("diff", "2")["added"]) == 3
    desk.no(1, "show", "99")
    desk.no(1, "diff", "1", "99")
    assert f"~ n00001.{ZONE}" in desk.run("diff", "1", "2").stdout


def test_endpoints_are_filtered_and_held_ones_say_why(desk: Desk) -> None:
    """By name, state and zone; a name that is not there is a "no"."""
    desk.publish(fleet(3) | {f"empty.{ZONE}": []})
    desk.enact(settled_but_held)
    assert len(desk.ok("endpoints")["endpoints"]) == 4
    held = desk.ok("endpoints", "--state", "held")["endpoints"]
    assert [(found["name"], found["held"]["guard"]) for found in held] == [(f"empty.{ZONE}", "targets_min")]
    assert desk.ok("endpoints", "--zone", "other.test")["endpoints"] == []
    found = desk.ok("endpoints", f"N00001.{ZONE}")["endpoints"][0]
    assert found["addresses"] == sorted(fleet(3)[f"n00001.{ZONE}"])
    assert desk.no(1, "endpoints", f"other.{ZONE}")["refusals"][0]["guard"] == "unknown"
    assert desk.no(2, "endpoints", "not a name")["kind"] == "name"
    assert "targets_min" in desk.run("endpoints").stdout


def test_history_shows_changes_newest_first(desk: Desk) -> None:
    """Only the plans in which the name changed, and what the ledger says."""
    name = f"n00001.{ZONE}"
    desk.publish(fleet(3))
    desk.publish(fleet(3))
    desk.publish(fleet(3, 2))
    desk.enact()
    found = desk.ok("history", name)
    assert [change["generation"] for change in found["plans"]] == [3, 1]
    assert found["ledger"]["generation"] == 3
    assert "10.2.1.1" in desk.run("history", name).stdout
    desk.no(1, "history", f"other.{ZONE}")


def test_prune_keeps_what_is_needed(desk: Desk) -> None:
    """A dry run deletes nothing; then old plans go, and each other one says why it stays."""
    for generation in range(1, 4):
        desk.publish(fleet(3, generation))
        desk.enact()
    would = desk.ok("prune", "--dry-run")
    assert would["pruned"] == [1, 2]
    assert len(desk.ok("plans")["plans"]) == 3
    assert desk.ok("prune")["pruned"] == [1, 2]
    assert [found["generation"] for found in desk.ok("plans")["plans"]] == [3]


def test_damaged_chunk_is_said_with_its_fix(desk: Desk) -> None:
    """A plan whose chunk is gone: show tells, and reading it whole is a "no"."""
    desk.publish(fleet(3))

    async def damage() -> None:
        store = await open_store(desk.url)
        await store.transact((), (Delete(key=Keys(SCOPE).root + "chunks/", prefix=True),))
        await store.close()

    asyncio.run(damage())
    assert desk.ok("show", "1")["readable"] is False
    assert desk.no(1, "show", "1", "--full")["kind"] == "unreadable"


def test_wrong_usage_and_config_are_exit_2(desk: Desk) -> None:
    """An unknown verb, a missing argument, a config that is not there or not TOML, a file that is not there."""
    assert desk.no(2, "bogus")["kind"] == "usage"
    assert desk.no(2, "publish")["kind"] == "usage"
    assert desk.no(2, "publish", str(desk.directory / "nothing.json"))["kind"] == "file"
    assert desk.no(2, "--config", str(desk.directory / "nothing.toml"), "status")["kind"] == "config"
    desk.config.write_text("[store\n")
    assert desk.no(2, "status")["kind"] == "config"


def test_unreachable_server_is_exit_3(desk: Desk) -> None:
    """A zone whose server does not answer: verify and adopt cannot say yes or no."""
    desk.publish(fleet(3))
    desk.enact()
    found = desk.run("verify", "--json")
    assert found.exit_code == 3, found.output
    assert json.loads(found.stdout)["down"]
    desk.publish(fleet(4))
    assert desk.no(3, "adopt", f"n00003.{ZONE}")["kind"] == "zone"


def test_every_help_has_an_example() -> None:
    """Each verb of both programs explains itself, with an example."""
    for program in (ctl, stub):
        for arguments in ([], *([verb] for verb in program.list_commands(click.Context(program)))):
            result = CliRunner().invoke(program, [*arguments, "--help"])
            assert result.exit_code == 0, result.output
            assert "Example:" in result.output, arguments


def test_the_summary_of_each_verb_is_what_its_help_begins_with() -> None:
    """`--help` of the program says it without importing the verb."""
    context = click.Context(ctl)
    for verb, (_, summary) in VERBS.items():
        command = ctl.get_command(context, verb)
        assert command is not None
        assert command.name == verb
        assert (command.help or "").split("\n\n")[0].replace("\n", " ") == summary


def test_help_imports_no_verb() -> None:
    program = (
        "import sys; from enactord.cli.ctl import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "enactord.cli.program" in loaded
    assert not {"aiohttp", "grpc", "sqlite3", "enactord.cli.status", "enactord.engine.enactor"} & loaded


def test_json_is_taken_before_and_after_the_verb(desk: Desk) -> None:
    """--json may stand on either side of the verb, --config too."""
    one = desk.run("--json", "--config", str(desk.config), "status")
    two = desk.run("status", "--config", str(desk.config), "--json")
    assert json.loads(one.stdout) == json.loads(two.stdout)


def test_watch_is_one_document_that_ends_with_its_time(desk: Desk) -> None:
    """Nothing happened: an empty array; what happens meanwhile is in it."""
    assert desk.ok("watch", "--for", "0.2") == []
    environment = os.environ | {"ENACTORD_CONFIG": str(desk.config)}
    command = [sys.executable, "-m", "enactord.cli.ctl", "watch", "--json"]
    # A shell that starts tests in the background has them ignore Ctrl-C, and what they start.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=listening
    ) as watching:
        assert watching.stdout is not None
        try:
            publishing = threading.Event()
            publisher = threading.Thread(target=publish_until, args=(desk, publishing))
            publisher.start()
            try:
                text = watching.stdout.readline() + watching.stdout.readline()
            finally:
                publishing.set()
                publisher.join()
            watching.send_signal(signal.SIGINT)
            text += watching.stdout.read()
            assert watching.wait(20) == 0
        finally:
            watching.kill()
    assert {event["event"] for event in json.loads(text)} == {"plan.published"}


def publish_until(desk: Desk, enough: threading.Event) -> None:
    """Publish again and again: the watcher says nothing of when it has begun to watch."""

    async def publish() -> None:
        store = await open_store(desk.url)
        plans = Plans(store, Keys(SCOPE), WallClock(), zones=[ZONE])
        while not enough.is_set():
            await plans.publish(read_plan(plan(fleet(3))), Orders())
            await asyncio.sleep(0.1)
        await store.close()

    asyncio.run(publish())


def test_stub_publishes_and_bad_plans_are_refused(desk: Desk) -> None:
    """The stub's first plan is whole; every kind of bad plan sent after it is exit 1."""
    result = desk.run("run", "--endpoints", "30", "--interval", "0", "--rounds", "3", program=stub)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["plan.published"] * 3
    desk.enact()
    for kind in ("truncated", "duplicate", "shrunk", "stale", "wrong-digest", "huge"):
        desk.no(1, "bad", kind, "--publish", program=stub)
    assert len(desk.ok("plans")["plans"]) == 3
    held = desk.run("bad", "empty", "--publish", "--json", program=stub)
    assert held.exit_code == 1
    assert json.loads(held.stdout)["held"][0]["guard"] == "targets_min"


def test_stub_prints_bad_plans_without_a_store() -> None:
    """Without --config the document goes to stdout, made from a small fleet; -o writes it."""
    result = CliRunner(env={"ENACTORD_CONFIG": ""}).invoke(stub, ["bad", "empty"])
    assert result.exit_code == 0, result.output
    assert any(not endpoint["targets"] for endpoint in json.loads(result.stdout)["endpoints"].values())


def test_stub_ends_on_sigterm_with_exit_0(desk: Desk) -> None:
    """A planner that is told to stop stops, in good order."""
    command = [sys.executable, "-m", "planner_stub.cli", "run", "--config", str(desk.config), "--interval", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert json.loads(running.stdout.readline())["event"] == "plan.published"
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
        finally:
            running.kill()
