"""The drills of the runbook's procedures, and of its introduction."""

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import dns.update

from enactord.core.kv import Put
from enactord.store.control import freeze_value, parse_freeze
from enactord.store.keys import Keys
from enactord.stores.by_url import open_store
from tests.docs.reference import ROOT
from tests.runbook.alerts import (
    empty,
    in_turn,
    lay_plan_ready,
    nothing,
    publish_good,
    told,
    well,
)
from tests.runbook.commands import INTRODUCTION
from tests.runbook.desk import API, FIRST, SCOPE, WWW, ZONE, Desk
from tests.runbook.drill import Deed, Drill, Hand, Hands, Look

PUBLISH = Deed("enactorctl publish plan.json", says="published generation")
VERIFY = Look("enactorctl verify", says="8 names, 0 not as the ledger has them")


async def bare_machine(desk: Desk) -> None:
    """Nothing of enactord is on the machine but a checkout: no folder, no program besides Python."""
    desk.cwd = desk.root / "checkout"
    await asyncio.to_thread(_check_out, desk.cwd)
    shutil.rmtree(desk.root / "etc" / "enactord")
    for folder in ("etc/systemd/system", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "opt", "bin"):
        (desk.root / folder).mkdir(parents=True)
    (desk.root / "bin" / "python3").symlink_to(sys.executable)
    del desk.env["PYTHONPATH"]
    own = Path(sys.executable).parent
    desk.env["PATH"] = ":".join(
        [str(desk.root / "bin"), *(at for at in os.environ["PATH"].split(":") if Path(at) != own), "/usr/sbin"]
    )


def _check_out(to: Path) -> None:
    for name in ("deploy", "enactord", "planner_stub", "requirements"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to)


async def edit_first_config(desk: Desk) -> None:
    """The config that was installed gets the addresses of this machine; the secrets get their files."""
    text = desk.config.read_text()
    desk.secret()
    for before, after in (
        ('url = "etcd://192.0.2.11:2379,192.0.2.12:2379,192.0.2.13:2379"', f'url = "{desk.etcd.url}"'),
        ('username = "enactord"\npassword_file = "%d/etcd.password"\n', ""),
        ('state_dir = "/var/lib/enactord"', f'state_dir = "{desk.state}"'),
        ('server = "192.0.2.53:53"', f'server = "127.0.0.1:{desk.primary.port}"'),
        ('"192.0.2.53:53", "192.0.2.54:53"', f'"127.0.0.1:{desk.primary.port}", "127.0.0.1:{desk.secondary.port}"'),
        ('tsig_name = "enactord"', 'tsig_name = "enactor"'),
        ('listen = "127.0.0.1:8451"', f'listen = "127.0.0.1:{desk.http}"'),
        ("[log]", "[guard]\nallow_private = true\n[log]"),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    desk.config.write_text(text)
    await lay_plan_ready(desk)


async def new_key(desk: Desk) -> None:
    """The DNS server takes the new key beside the old one; the enactor's file gets it."""
    path = desk.primary.dir / desk.primary.template
    text = path.read_text()
    key = desk.said["tsig-keygen"]
    text = key + text.replace(
        "grant enactor zonesub A AAAA TXT;", "grant enactor zonesub A AAAA TXT; grant enactord-2 zonesub A AAAA TXT;"
    )
    path.write_text(text)
    await asyncio.to_thread(desk.primary.rndc, "reconfig")
    desk.edit_config('tsig_name = "enactor"', 'tsig_name = "enactord-2"')
    desk.secret(key)


async def old_key_goes(desk: Desk) -> None:
    """The DNS server takes the old key no more."""
    path = desk.primary.dir / desk.primary.template
    path.write_text(path.read_text().replace("grant enactor zonesub A AAAA TXT; ", ""))
    await asyncio.to_thread(desk.primary.rndc, "reconfig")


async def shrink(desk: Desk) -> None:
    """Plan 103 is applied; plan 104 takes three quarters of one name's addresses."""
    await desk.publish(desk.content())
    await desk.served()
    kept = desk.planned
    await desk.publish(kept | {API: kept[API][:1]})
    await desk.told("is held (velocity)")


async def backed_up_and_lost(desk: Desk) -> None:
    """There is a backup of yesterday; two plans later the store is lost with all it held."""
    await desk.ctl("backup", str(desk.root / "var" / "backups" / "enactord-2026-01-31"))
    for _ in range(2):
        await desk.publish(desk.content())
        await desk.served()
    await lost(desk)


async def lost(desk: Desk) -> None:
    """The store is lost, and an empty one takes its place."""
    await asyncio.to_thread(desk.etcd.kill)
    shutil.rmtree(desk.etcd.dir / "data")
    await desk.told("store:")
    await asyncio.to_thread(desk.etcd.start)
    await desk.told("the plan store is empty")


async def zone_set_back(desk: Desk) -> None:
    """The primary is loaded with what it held before the newest plan."""
    zone = desk.primary.dir / f"{ZONE}zone"
    await asyncio.to_thread(desk.primary.rndc, "sync", "-clean")
    old = zone.read_text()
    await desk.publish(desk.content())
    await desk.served()
    await asyncio.to_thread(desk.primary.rndc, "sync", "-clean")
    await asyncio.to_thread(desk.primary.stop)
    zone.write_text(old)
    await asyncio.to_thread(desk.primary.start)


async def secondary_retransfers(desk: Desk) -> None:
    """By the server's own means: the serial went back."""
    await asyncio.to_thread(desk.secondary.rndc, "retransfer", ZONE)


async def list_both_servers(desk: Desk) -> None:
    """The config lists both servers from the beginning."""
    one = f'"127.0.0.1:{desk.primary.port}"'
    desk.edit_config(f"server = {one}", f'server = [{one}, "127.0.0.1:{desk.secondary.port}"]')
    await desk.enactors[0].stop()
    assert await desk.enactors[0].start(desk.env)
    await desk.well()


async def promote(desk: Desk) -> None:
    """The secondary becomes the primary, and the old primary its secondary."""
    desk.primary, desk.secondary = desk.secondary, desk.primary
    await asyncio.to_thread(desk.primary.become, None)
    await asyncio.to_thread(desk.secondary.become, desk.primary)


async def fence_far_above(desk: Desk) -> None:
    await desk.fence(f"v=enactord1 scope={SCOPE} gen=99999999 plan={'0' * 16}")
    await desk.told("out of reach")


async def six_minutes_pass(desk: Desk) -> None:
    """The freeze is set back by seven minutes: the command waits for its age, and the drill does not."""
    store, keys = await open_store(desk.etcd.url), Keys(SCOPE)
    try:
        frozen = parse_freeze((await store.get([keys.freeze]))[keys.freeze].value)
        await store.transact((), (Put(key=keys.freeze, value=freeze_value(replace(frozen, since=frozen.since - 420))),))
    finally:
        await store.close()


async def before_an_upgrade(desk: Desk) -> None:
    """A backup was taken before the upgrade."""
    await desk.ctl("backup", str(desk.root / "var" / "backups" / "enactord-2026-01-31"))


async def all_gone(desk: Desk) -> None:
    """The enactor sleeps, and the store is gone."""
    desk.enactors[0].signal(signal.SIGSTOP)
    await asyncio.to_thread(desk.etcd.kill)


async def all_back(desk: Desk) -> None:
    await asyncio.to_thread(desk.etcd.start)
    desk.enactors[0].signal(signal.SIGCONT)
    await desk.told("held by an operator")
    assert await desk.ask(API) == {"198.51.100.10", "198.51.100.11"}
    await lay_plan_ready(desk)


async def names_of_somebody_else(desk: Desk) -> None:
    """The zone has names before enactord comes: two that the plan wants otherwise, and the rest as it wants them."""
    desk.generation = FIRST
    desk.write_plan(desk.content())
    wanted = desk.planned

    def change(update: dns.update.UpdateMessage) -> None:
        for name, addresses in wanted.items():
            for address in ["10.77.0.1"] if name in (API, WWW) else addresses:
                update.add(name, 5, "A", address)

    await desk.edit(change)
    enactor = desk.add_enactor()
    assert await enactor.start(desk.env)


async def another_installation(desk: Desk) -> None:
    """The store and the enactor's disk are lost for good: those that take their place are another installation."""
    await desk.enactors[0].stop()
    await asyncio.to_thread(desk.etcd.kill)
    for folder in (desk.etcd.dir / "data", desk.state):
        shutil.rmtree(folder)
    await asyncio.to_thread(desk.etcd.start)
    assert await desk.enactors[0].start(desk.env)
    await desk.told("another installation")
    desk.write_plan(desk.planned | {API: ["10.9.9.1", "10.9.9.2"]})


async def bad_plan(desk: Desk) -> None:
    """Plan 103 points at the wrong balancers and lacks a name; what should be served is plan 102."""
    good = desk.planned
    bad = {name: [f"10.250.0.{number}" for number in (1, 2, 3, 4)] for name in good if name != WWW}
    await desk.publish(bad)
    await desk.served()
    desk.planned = good


async def operators_token(desk: Desk) -> None:
    """A person has a token of role operator on a laptop, and the enactor has taken it up."""
    made = await desk.ctl("token", "create", "laptop", "--role", "operator", "--file", str(desk.etc / "http.tokens"))
    path = desk.root / "enactord-token"
    path.write_text(made["token"])
    path.chmod(0o600)
    desk.said["enactorctl token create"] = made["token"]
    del desk.env["ENACTORD_CONFIG"]
    await token_works(desk)


async def token_works(desk: Desk) -> None:
    await desk.until(lambda: _answers(desk, 422), "the token taken, and what is no plan refused")


async def token_opens_nothing(desk: Desk) -> None:
    await desk.until(lambda: _answers(desk, 403), "the token refused, and no other left")


async def _answers(desk: Desk, status: int) -> bool:
    """Whether an enactor answers so to what is no plan, published with the token that was made."""
    token = desk.said["enactorctl token create"].split()[0]
    url = f"http://127.0.0.1:{desk.http}/api/v1/plans"
    bearer = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=bearer) as client, client.post(url, data=b"{}") as answer:
        return answer.status == status


async def backed_up(desk: Desk) -> None:
    (backup,) = (desk.root / "var" / "backups").iterdir()
    assert backup.stat().st_size > 0


def journal(words: str) -> Hand:
    async def do(desk: Desk) -> None:
        await desk.until(lambda: words in desk.enactors[0].journal.read_text(), f"{words} in the journal")

    return do


async def rack_on_fire(desk: Desk) -> None:
    """One of four addresses of a name is gone, and the planner does not know."""
    desk.burn(desk.planned[API][0])


async def address_is_out(desk: Desk) -> None:
    """The name serves the other three, though the planner publishes all four again."""
    rest = {**desk.planned, API: desk.planned[API][1:]}
    await desk.publish(desk.planned)
    desk.planned = rest
    desk.generation += 1  # the override's own plan
    await desk.served()
    await desk.find_override()


async def address_is_back(desk: Desk) -> None:
    """All four are wanted again."""
    number = desk.planned[API][0].rsplit(".", 1)[0]
    desk.planned = {**desk.planned, API: [f"{number}.{i}" for i in (1, 2, 3, 4)]}
    desk.generation += 1


AS_ROOT = ("First install",)
"""Sections whose commands only root can type."""
HELD = "enactorctl endpoints --state held"
CHECK = Look("enactord check-config /etc/enactord/enactord.toml", says="ok: enactor")
READY = Look("curl -s http://127.0.0.1:8451/readyz", says='"status": "ready"')
BACKUP = "/var/backups/enactord-2026-01-31"
APPROVE = 'enactorctl publish 104 --approve --reason "CHG-1234: half of the fleet is being rebuilt"'
ROLLBACK = 'enactorctl rollback 102 --reason "INC-4711: 103 points at the wrong balancers"'
LAST_WHOLE = 'enactorctl rollback --to-last-whole --reason "INC-4711: 103 lost names"'
SET = (
    "enactorctl emergency set api.us-east-1.example.com 198.51.100.10 198.51.100.11"
    ' --zone us-east-1.example.com --reason "INC-4711"'
)

DRILLS = (
    Drill(
        section=INTRODUCTION,
        fault=in_turn(empty, well),
        steps=(
            Deed("export CREDENTIALS_DIRECTORY=/etc/enactord/credentials"),
            Look("enactorctl doctor", says="0 fault"),
            Look("enactorctl status", says="newest plan 102"),
            VERIFY,
            READY,
            Look("journalctl -u enactord --since -15min", says="endpoint.repaired"),
            Look("dig @192.0.2.53 api.us-east-1.example.com A +norecurse", says="10.102.0.1"),
            Look("dig @192.0.2.53 _enactord.us-east-1.example.com TXT +norecurse", says="gen=102"),
            Hands(operators_token),
            Deed("export ENACTORD_URL=https://enactor-a.example.com:8451 ENACTORD_TOKEN_FILE=~/.enactord-token"),
            Deed('enactorctl freeze --reason "…"'),
        ),
        over=told("frozen (all)"),
    ),
    Drill(
        section="First install",
        fault=bare_machine,
        steps=(
            Deed("tsig-keygen -a hmac-sha256 enactord", says='key "enactord"'),
            Deed("python3 -m venv /opt/enactord"),
            Deed("/opt/enactord/bin/pip install --requirement requirements/runtime.txt"),
            Deed("/opt/enactord/bin/pip install --no-deps ."),
            Deed("install -m 0644 deploy/systemd/enactord.service /etc/systemd/system/"),
            Deed("install -m 0644 deploy/systemd/enactord.sysusers.conf /usr/lib/sysusers.d/enactord.conf"),
            Deed("install -m 0644 deploy/systemd/enactord.tmpfiles.conf /usr/lib/tmpfiles.d/enactord.conf"),
            Deed("systemd-sysusers enactord.conf"),
            Deed("systemd-tmpfiles --create enactord.conf"),
            Deed("install -m 0640 -g enactord deploy/systemd/enactord.toml /etc/enactord/"),
            Deed('export PATH="$PATH:/opt/enactord/bin"'),
            Hands(edit_first_config),
            Deed("export CREDENTIALS_DIRECTORY=/etc/enactord/credentials"),
            CHECK,
            Look("enactorctl doctor", says="0 fault"),
            Deed("systemctl daemon-reload"),
            Deed("systemctl enable --now enactord"),
            Look("enactorctl status", says="waits for work"),
            Look("enactorctl publish plan.json --dry-run", says="8 added"),
            PUBLISH,
            Deed("enactorctl watch --for 30"),
            VERIFY,
        ),
        over=well,
        enactors=0,
    ),
    Drill(
        section="Adopt an existing zone",
        fault=names_of_somebody_else,
        steps=(
            PUBLISH,
            Look(HELD, says="foreign"),
            Deed("enactorctl adopt api.us-east-1.example.com www.us-east-1.example.com"),
            PUBLISH,
            VERIFY,
        ),
        over=well,
        enactors=0,
    ),
    Drill(
        section="Rotate TSIG keys",
        fault=nothing,
        steps=(
            Deed("tsig-keygen -a hmac-sha256 enactord-2", says='key "enactord-2"'),
            Hands(new_key),
            Deed("systemctl reload enactord"),
            Hands(in_turn(publish_good, journal('"slice.committed"'))),
            Deed("systemctl restart enactord"),
            READY,
            Hands(old_key_goes),
        ),
        over=in_turn(publish_good, well),
    ),
    Drill(
        section="Give and take away tokens",
        fault=nothing,
        steps=(
            Deed("enactorctl token create planner-1 --role planner --file /etc/enactord/http.tokens"),
            Deed("chown root:enactord /etc/enactord/http.tokens"),
            Deed("chmod 0640 /etc/enactord/http.tokens"),
            Look("enactorctl token list --file /etc/enactord/http.tokens", says="planner-1"),
            Hands(token_works),
            Deed("enactorctl token revoke planner-1 --file /etc/enactord/http.tokens"),
        ),
        over=token_opens_nothing,
    ),
    Drill(
        section="Freeze",
        fault=nothing,
        steps=(
            Deed('enactorctl freeze --reason "INC-4711: looking"'),
            Hands(told("frozen (all)")),
            Deed('enactorctl freeze --repair-only --reason "INC-4711: looking"'),
            Look("enactorctl status", says="FROZEN (repair-only)"),
            Hands(in_turn(empty, lambda desk: desk.served())),
            Deed("enactorctl thaw"),
            Look("enactorctl audit", says="thaw"),
            Look("enactorctl audit --since 2h", says="INC-4711"),
        ),
        over=well,
    ),
    Drill(
        section="Roll back",
        fault=bad_plan,
        steps=(
            Look("enactorctl plans", says="103"),
            Look("enactorctl diff 103 102", says="10.250.0.1"),
            Look(f"{ROLLBACK} --dry-run", says="nothing was stored"),
            Look(f"{LAST_WHOLE} --dry-run", says="nothing was stored"),
            Deed(ROLLBACK, says="published generation 104"),
            Hands(lambda desk: desk.served()),
            VERIFY,
            Deed("enactorctl planner resume"),
        ),
        over=well,
    ),
    Drill(
        section="Approve a held plan",
        fault=shrink,
        steps=(
            Look(HELD, says="velocity"),
            Look("enactorctl show 104 --full", says="api.us-east-1.example.com"),
            Look("enactorctl limits", says="second_person"),
            Look(f"{APPROVE} --dry-run", says="nothing was stored"),
            Deed(APPROVE, says="published generation 105"),
            Deed("enactorctl watch --for 30"),
        ),
        over=well,
    ),
    Drill(
        section="Take an address out for some hours",
        fault=rack_on_fire,
        steps=(
            Look("enactorctl endpoints api.us-east-1.example.com", says="applied"),
            Deed(
                "enactorctl override api.us-east-1.example.com --drain 198.51.100.7 --for 2h"
                ' --reason "INC-4711: that rack is on fire" --wait',
                says="served: applied",
            ),
            Look("enactorctl override list", says="that rack is on fire"),
            Hands(address_is_out),
            Deed('enactorctl override end 9f3a1c --reason "the rack is back"', says="published generation"),
            Hands(address_is_back),
        ),
        over=well,
    ),
    Drill(
        section="Back up",
        fault=nothing,
        steps=(Deed('enactorctl backup "/var/backups/enactord-$(date +%F)"', says="2 plans"),),
        over=backed_up,
    ),
    Drill(
        section="Restore the store from a backup",
        fault=backed_up_and_lost,
        steps=(
            Deed(f"enactorctl restore {BACKUP}", says="waits for the next publication"),
            Look("enactorctl status", says="newest plan 102"),
            Hands(lay_plan_ready),
            PUBLISH,
            Look(HELD),
            VERIFY,
        ),
        over=well,
    ),
    Drill(
        section="Seed an empty store from a local copy",
        fault=lost,
        steps=(
            Deed("enactorctl restore --from-copy", says="newest plan 102"),
            Hands(in_turn(well, lost)),
            Deed("enactorctl restore --from-copy /var/lib/enactord", says="newest plan 102"),
        ),
        over=in_turn(well, publish_good, well),
    ),
    Drill(
        section="Take a zone over from an installation that is gone",
        fault=another_installation,
        steps=(
            Deed('enactorctl zone take us-east-1.example.com --reason "INC-4711: its plan store is lost for good"'),
            PUBLISH,
            Look(HELD, says="foreign"),
            Deed("enactorctl adopt api.us-east-1.example.com"),
            PUBLISH,
        ),
        over=well,
    ),
    Drill(
        section="Restore a zone",
        fault=zone_set_back,
        steps=(Hands(secondary_retransfers), VERIFY),
        over=well,
    ),
    Drill(
        section="Move a zone to another primary",
        fault=list_both_servers,
        steps=(
            Hands(promote),
            Hands(journal('"primary.chosen"')),
            Look("enactorctl status", says="us-east-1.example.com. is written on"),
            VERIFY,
        ),
        over=in_turn(publish_good, well),
    ),
    Drill(
        section="Bring a fence down that is out of reach",
        fault=fence_far_above,
        steps=(
            Look("enactorctl status", says="out of reach"),
            Look("dig @192.0.2.53 _enactord.us-east-1.example.com TXT +short", says="gen=99999999"),
            Deed('enactorctl freeze --reason "INC-4711"'),
            Hands(six_minutes_pass),
            Deed('enactorctl fence lower us-east-1.example.com --reason "INC-4711"', says="now: enactorctl thaw"),
            Deed("enactorctl thaw"),
            Hands(lay_plan_ready),
            PUBLISH,
        ),
        over=well,
    ),
    Drill(
        section="Upgrade without a gap",
        fault=before_an_upgrade,
        steps=(
            Look("enactorctl status", says="enactor e2"),
            Deed("systemctl stop enactord"),
            CHECK,
            Deed("systemctl start enactord"),
            READY,
            Look("enactorctl status", says="enactor e1"),
            Deed(f"enactorctl restore {BACKUP} --replace"),
        ),
        over=well,
        enactors=2,
    ),
    Drill(
        section="Break the glass",
        fault=all_gone,
        steps=(
            Deed(SET),
            Deed("enactorctl emergency seal us-east-1.example.com"),
            Hands(all_back),
            Deed("enactorctl emergency release us-east-1.example.com"),
            PUBLISH,
            VERIFY,
        ),
        over=well,
    ),
)
