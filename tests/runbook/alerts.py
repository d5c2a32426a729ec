"""The drills of the alerts' sections: each makes the fault that the alert is about, on real servers."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

from enactord.clock import SystemClock
from enactord.core.plan import Manifest, read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.runbook.desk import API, SCOPE, ZONE, Desk
from tests.runbook.drill import Deed, Drill, Hand, Hands, Look
from tests.servers.certificates import Authority
from tests.servers.dns_server import DnsServer
from tests.servers.secondaries import wait_copied

STORED = f"/enactord/{SCOPE}"


async def well(desk: Desk) -> None:
    """All that was planned is served by both servers, and every enactor is ready."""
    await desk.served()
    await desk.well()


async def lay_plan_ready(desk: Desk) -> None:
    """Somebody writes plan.json: the whole content that is wanted now."""
    desk.generation += 1
    desk.write_plan(desk.content())


def by_ctl(*words: str) -> Hand:
    return lambda desk: desk.ctl(*words)


def in_thread(what: Callable[[Desk], Callable[[], object]]) -> Hand:
    return lambda desk: asyncio.to_thread(what(desk))


def in_turn(*hands: Hand) -> Hand:
    async def do(desk: Desk) -> None:
        for hand in hands:
            await hand(desk)

    return do


def told(words: str, index: int = 0) -> Hand:
    return lambda desk: desk.told(words, index)


def send(number: signal.Signals, index: int = 0) -> Hand:
    async def do(desk: Desk) -> None:
        desk.enactors[index].signal(number)

    return do


def hung(number: signal.Signals, which: Callable[[Desk], DnsServer]) -> Hand:
    async def do(desk: Desk) -> None:
        os.kill(which(desk).pid, number)

    return do


# -- names


async def empty(desk: Desk) -> None:
    """Somebody else takes all addresses from a name."""
    await desk.edit(lambda update: update.delete(API, "A"))
    await desk.until(lambda: serves(desk, API, set()), "an empty name")


async def serves(desk: Desk, name: str, addresses: set[str]) -> bool:
    return await desk.ask(name) == addresses


async def alias(desk: Desk) -> None:
    """Somebody else puts a CNAME in the place of a name's addresses."""

    def change(update: object) -> None:
        update.delete(API)  # type: ignore[attr-defined]
        update.add(API, 5, "CNAME", "elsewhere.example.net.")  # type: ignore[attr-defined]

    await desk.edit(change)
    await asyncio.to_thread(wait_copied, desk.secondary, desk.primary, ZONE)


async def unalias(desk: Desk) -> None:
    await desk.edit(lambda update: update.delete(API, "CNAME"))


# -- the store


async def keep_store(desk: Desk) -> None:
    """Keep what the store holds now, as a snapshot of its disk would; then publish one plan more."""
    await asyncio.to_thread(_with_store_stopped, desk, ("cp", "-a", "data", "kept"))
    await well(desk)
    await desk.publish(desk.content())
    await well(desk)


async def set_store_back(desk: Desk) -> None:
    """Put the kept snapshot back: the store is older than the zone."""
    await keep_store(desk)
    await asyncio.to_thread(_with_store_stopped, desk, ("sh", "-c", "rm -r data && mv kept data"))
    await desk.until(lambda: _head_is(desk, desk.generation - 1), "the older store")


async def _head_is(desk: Desk, generation: int) -> bool:
    return bool((await desk.ctl("status"))["head"] == generation)


def _with_store_stopped(desk: Desk, command: tuple[str, ...]) -> None:
    desk.etcd.stop()
    subprocess.run(command, cwd=desk.etcd.dir, check=True)
    desk.etcd.start()


async def fill_store(desk: Desk) -> None:
    """Put what is not enactord's into etcd until its quota is used up."""
    for number in range(64):
        said = await desk.etcdctl("put", f"/junk/{number}", stdin=os.urandom(700_000).hex().encode(), code=None)
        if "exceeded" in said:
            break
    else:
        raise AssertionError("etcd has taken it all")
    await desk.told("database space exceeded")


async def lose_plan(desk: Desk) -> None:
    """The plan that the zone stands at goes from the store."""
    await desk.etcdctl("del", f"{STORED}/plans/{desk.generation:020d}")


async def publish_refused(desk: Desk) -> None:
    """A plan that takes most names away, past the publisher's own guards."""
    store = await open_store(desk.etcd.url)
    plans = Plans(store, Keys(SCOPE), SystemClock(), zones=[ZONE])
    before = desk.planned
    document = json.loads(desk.write_plan({API: before[API]}).read_text())
    desk.planned = before
    assert isinstance(await plans.publish(read_plan(document), Orders()), Manifest)
    await store.close()
    await desk.told("is refused")


async def publish_too_little(desk: Desk) -> None:
    """The planner publishes most names no more: guards refuse it before it is stored."""
    await desk.publish_refused({API: desk.planned[API]})
    await desk.told("guards refused what planner default last published")


async def only_api_is_planned(desk: Desk) -> None:
    """What was refused is what should be served now."""
    desk.planned = {API: desk.planned[API]}
    desk.generation += 1


async def overrides_that_stay(desk: Desk) -> None:
    """Two names are pinned, the planner withdraws both, and the guards let one of them go at a time."""
    kept = dict(desk.planned)
    for name in list(kept)[-2:]:
        await desk.ctl("override", name, "--pin", "--for", "2s", "--reason", "drill")
        desk.generation += 1
        del kept[name]
    await desk.publish(kept)
    await desk.until(lambda: "override.stays" in desk.enactors[0].journal.read_text(), "an override that stays")
    await desk.find_override()


async def all_is_as_planned(desk: Desk) -> None:
    """Ends by enactors and by hand each took a generation."""
    desk.generation += 2


async def publish_good(desk: Desk) -> None:
    """The planner publishes a plan that is sound."""
    await desk.publish(desk.content())


async def hold(desk: Desk) -> None:
    """A plan in which a name has no address left."""
    before = desk.planned[API]
    await desk.publish(desk.content(api=[]))
    desk.planned[API] = before
    await desk.told("is held (targets_min)")


async def many_plans_beside_a_held_name(desk: Desk) -> None:
    before = desk.planned[API]
    for _ in range(3):
        await desk.publish(desk.content(api=[]))
        desk.planned[API] = before
        await desk.served()


async def damage_head(desk: Desk) -> None:
    """Somebody has written over what says which plan is the newest."""
    await desk.etcdctl("put", f"{STORED}/head", "junk")
    await desk.told("cannot be read")


async def damage_limits(desk: Desk) -> None:
    """Somebody has written over the limits: the stricter of config and defaults are in force."""
    await desk.etcdctl("put", f"{STORED}/control/limits", "junk")
    await desk.told("limits")


async def limits_sound(desk: Desk) -> None:
    """Stored limits are read again; this config says others, as the strict ones were stored."""

    async def sound() -> bool:
        seen = await desk.readyz()
        return seen["status"] == "ready" and "damaged" not in str(seen) and "cannot be read" not in str(seen)

    await desk.until(sound, "limits that are read")


async def cap_ttl(desk: Desk) -> None:
    """The server keeps no TTL above 4."""
    path = desk.primary.dir / desk.primary.template
    path.write_text(path.read_text().replace("masterfile-format text;", "masterfile-format text; max-zone-ttl 4;"))
    await asyncio.to_thread(desk.primary.rndc, "reconfig")
    await desk.publish(desk.content())
    await desk.told("keeps TTL 4")


async def uncap_ttl(desk: Desk) -> None:
    path = desk.primary.dir / desk.primary.template
    path.write_text(path.read_text().replace(" max-zone-ttl 4;", ""))
    await asyncio.to_thread(desk.primary.rndc, "reconfig")


async def freeze_of_another_version(desk: Desk) -> None:
    await desk.etcdctl("put", f"{STORED}/control/freeze", "freeze 2\n{}")
    await desk.told("format 2")


# -- enactors and their machines


async def bad_config_at_start(desk: Desk) -> None:
    """The config was spoilt, and the machine started again."""
    desk.edit_config("claim_ttl_s = 3", "claim_tll_s = 3")
    await desk.enactors[0].stop()
    assert not await desk.enactors[0].start(desk.env)


async def good_config(desk: Desk) -> None:
    desk.edit_config("claim_tll_s = 3", "claim_ttl_s = 3")


async def bad_config_at_reload(desk: Desk) -> None:
    desk.edit_config("fence_interval_s = 1.0", "fence_interval_s = -1.0")
    desk.enactors[0].signal(signal.SIGHUP)
    await desk.told("repair.fence_interval_s")


async def good_config_again(desk: Desk) -> None:
    desk.edit_config("fence_interval_s = -1.0", "fence_interval_s = 1.0")


async def config_that_needs_a_restart(desk: Desk) -> None:
    """The config is mended, and changes besides what only a restart changes."""
    desk.edit_config("claim_ttl_s = 3", "claim_ttl_s = 4")
    desk.enactors[0].signal(signal.SIGHUP)
    await desk.told("claim_ttl_s")


async def killed(desk: Desk) -> None:
    await desk.enactors[0].kill()


async def no_copy(desk: Desk) -> None:
    """The local copy cannot be saved: a folder stands in its place."""
    copy = desk.state / "last-known-good.sqlite"
    await asyncio.to_thread(copy.rename, copy.with_suffix(".away"))
    await asyncio.to_thread(copy.mkdir)
    await desk.publish(desk.content())
    await desk.told("local copy")


async def copy_again(desk: Desk) -> None:
    copy = desk.state / "last-known-good.sqlite"
    await asyncio.to_thread(copy.rmdir)
    await asyncio.to_thread(copy.with_suffix(".away").rename, copy)


async def short_certificate(desk: Desk) -> None:
    """HTTPS by a certificate of one day."""
    await asyncio.to_thread(_issue, desk, 1)
    desk.edit_config('tokens_file = "http.tokens"', 'tls_cert_file = "http.pem"\ntls_key_file = "http.key"')
    await desk.enactors[0].stop()
    assert await desk.enactors[0].start(desk.env)


async def renew_certificate(desk: Desk) -> None:
    await asyncio.to_thread(_issue, desk, 90)


def _issue(desk: Desk, days: int) -> None:
    authority = Authority(desk.root / "authority", days=90)
    for made, name in zip(authority.issue("http", days=days), ("http.pem", "http.key"), strict=True):
        (desk.etc / name).write_bytes(made.read_bytes())
        (desk.etc / name).chmod(0o600)


async def taken_up(desk: Desk) -> None:
    """The enactor has said that it took the renewed file up."""
    journal = desk.enactors[0].journal
    await desk.until(lambda: '"files.taken"' in journal.read_text(), "files.taken")


async def reader_gone(desk: Desk) -> None:
    """The enactor writes its log to a pipe whose reader ends."""
    read, write = os.pipe()
    await desk.enactors[0].stop()
    assert await desk.enactors[0].start(desk.env, stderr=write)
    os.close(write)
    os.close(read)
    await desk.publish(desk.content())
    await desk.told("Broken pipe")


async def other_limits(desk: Desk) -> None:
    """The config of an enactor says another limit than is in force."""
    desk.edit_config("[guard]", "[guard]\ntargets_min = 2")
    desk.enactors[0].signal(signal.SIGHUP)
    await desk.told("targets_min")


async def behind(desk: Desk) -> None:
    """The secondary is a server of its own from now on, and serves what it last took."""
    await asyncio.to_thread(wait_copied, desk.secondary, desk.primary, ZONE)
    await asyncio.to_thread(desk.secondary.become, None)
    await desk.publish(desk.content())
    await desk.told("is behind since")


async def negative_ttl(desk: Desk, minimum_s: int) -> None:
    soa = f"ns.{ZONE} admin.{ZONE} {int(time.time())} 3600 600 86400 {minimum_s}"
    await desk.edit(lambda update: update.replace(ZONE, 3600, "SOA", soa))


async def long_negative_ttl(desk: Desk) -> None:
    await negative_ttl(desk, 3600)
    await desk.enactors[0].stop()
    assert await desk.enactors[0].start(desk.env)
    await desk.told("keeps that answer for 3600 s")


async def sleeps_through_a_plan(desk: Desk) -> None:
    """An enactor is stopped, and others apply the next plan: what it still has under way is no longer the newest."""
    desk.enactors[0].signal(signal.SIGSTOP)
    await desk.publish(desk.content())
    await desk.served()


async def alone_asleep(desk: Desk) -> None:
    """The only enactor is stopped, and a plan comes."""
    desk.enactors[0].signal(signal.SIGSTOP)
    await desk.publish(desk.content(), "--confirm-within", "0")


async def slow_repair(desk: Desk) -> None:
    """A look at all names takes a second for each of them."""
    desk.edit_config("interval_s = 1.0\nfence", "interval_s = 1.0\nnames_per_s = 1\nfence")
    desk.enactors[0].signal(signal.SIGHUP)


async def quick_repair(desk: Desk) -> None:
    desk.edit_config("names_per_s = 1\n", "names_per_s = 500\n")


async def nothing(desk: Desk) -> None:
    """The fault is elsewhere: in what watches, and not in what is watched."""


FREEZE = by_ctl("freeze", "--reason", "drill")

DRILLS = (
    Drill(
        section="EnactordEndpointEmpty",
        fault=in_turn(FREEZE, empty),
        steps=(
            Look("enactorctl verify", says="api.us-east-1.example.com", code=1),
            Look("enactorctl status", says="FROZEN (all)"),
            Look("enactorctl endpoints api.us-east-1.example.com", says="10.102.0.1"),
            Deed('enactorctl freeze --repair-only --reason "repair must run"'),
            Hands(lambda desk: desk.served()),
            Hands(in_turn(FREEZE, empty)),
            Deed("enactorctl thaw"),
            Hands(well),
            Hands(in_turn(send(signal.SIGSTOP), empty)),
            Deed("enactorctl verify --repair", says="repaired api.us-east-1.example.com", code=(0, 1)),
            Look("enactorctl verify", says="8 names, 0 not as the ledger has them"),
            Hands(send(signal.SIGCONT)),
        ),
        over=well,
    ),
    Drill(
        section="EnactordEndpointsDrifted",
        fault=alias,
        steps=(
            Look("enactorctl verify", says="CNAME", code=1),
            Hands(unalias),
        ),
        over=well,
    ),
    Drill(
        section="EnactordGenerationWentBack",
        fault=set_store_back,
        steps=(
            Look("enactorctl status", says="newest plan 102"),
            Look("enactorctl plans", says="102"),
            Deed('enactorctl freeze --reason "the store went back"'),
        ),
        over=told("frozen (all)"),
    ),
    Drill(
        section="EnactordFenceLost",
        fault=lambda desk: desk.edit(lambda update: update.delete(f"_enactord.{ZONE}", "TXT")),
        steps=(Look("dig @192.0.2.53 _enactord.us-east-1.example.com TXT +norecurse", says="gen=102"),),
        over=well,
    ),
    Drill(
        section="EnactordStaleWritesRefused",
        fault=sleeps_through_a_plan,
        steps=(Look("enactorctl plans", says="103"), Hands(send(signal.SIGCONT))),
        over=well,
        enactors=2,
    ),
    Drill(
        section="EnactordNeededPlanMissing",
        fault=lose_plan,
        steps=(
            Look("enactorctl plans", says="101"),
            Look("enactorctl status", says="newest plan 102"),
            Hands(lay_plan_ready),
            Deed("enactorctl publish plan.json", says="generation 103"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordPlanNotApplied",
        fault=alone_asleep,
        steps=(Look("enactorctl status", says="newest plan 103"), Deed("systemctl restart enactord")),
        over=well,
    ),
    Drill(
        section="EnactordPlanRefused",
        fault=publish_refused,
        steps=(
            Look("enactorctl diff 103", says="removed"),
            Look("enactorctl limits", says="endpoints_removed_max_ratio"),
            Hands(publish_good),
        ),
        over=well,
    ),
    Drill(
        section="EnactordPublicationRefused",
        fault=publish_too_little,
        steps=(
            Look("enactorctl refused", says="endpoints_removed"),
            Look("enactorctl diff 5f3a91c0b7d2e846", says="removed"),
            Deed('enactorctl publish --approve 5f3a91c0b7d2e846 --reason "the region is closed"', says="published"),
            Hands(only_api_is_planned),
        ),
        over=well,
    ),
    Drill(
        section="EnactordEndpointsHeld",
        fault=hold,
        steps=(Look("enactorctl endpoints --state held", says="targets_min"), Hands(publish_good)),
        over=well,
    ),
    Drill(
        section="EnactordAllDown",
        fault=bad_config_at_start,
        steps=(
            Look("systemctl status enactord", says="failed", code=3),
            Look("journalctl -u enactord -n 50", says="claim_tll_s"),
            Look("enactord check-config /etc/enactord/enactord.toml", says="did you mean claim_ttl_s?", code=2),
            Hands(good_config),
            Look("enactord check-config /etc/enactord/enactord.toml", says="ok"),
            Deed("systemctl restart enactord"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordAbsent",
        fault=nothing,
        steps=(Look("enactorctl status", says="newest plan 102"),),
        over=well,
    ),
    Drill(
        section="EnactordDown",
        fault=killed,
        steps=(
            Look("systemctl status enactord", says="failed", code=3),
            Look("journalctl -u enactord -n 100", says="started"),
            Deed("systemctl restart enactord"),
        ),
        over=well,
        enactors=2,
    ),
    Drill(
        section="EnactordStoreDown",
        fault=in_turn(in_thread(lambda desk: desk.etcd.kill), told("store:")),
        steps=(
            Look("enactorctl doctor", says="store", code=1),
            Look("etcdctl endpoint status", says="Failed to get the status of endpoint", code=1),
            Hands(in_thread(lambda desk: desk.etcd.start)),
        ),
        over=well,
    ),
    Drill(
        section="EnactordStoreFull",
        fault=fill_store,
        steps=(
            Look("etcdctl endpoint status --cluster --write-out table", says="NOSPACE"),
            Look("etcdctl alarm list", says="NOSPACE"),
            Look("df -h", says="/"),
            Hands(lambda desk: desk.etcdctl("del", "/junk", "--prefix")),
            Deed("revision=$(etcdctl endpoint status --write-out json | jq '.[0].Status.header.revision')"),
            Deed('etcdctl compact "$revision"', says="compacted revision"),
            Deed("etcdctl defrag --cluster", says="Finished defragmenting"),
            Deed("etcdctl alarm disarm", says="NOSPACE"),
        ),
        over=in_turn(well, publish_good, well),
    ),
    Drill(
        section="EnactordCopyFailing",
        fault=no_copy,
        steps=(
            Look("df -h /var/lib/enactord", says="/"),
            Look("ls -ld /var/lib/enactord", says="enactord"),
            Hands(copy_again),
        ),
        over=well,
    ),
    Drill(
        section="EnactordOtherFormat",
        fault=freeze_of_another_version,
        steps=(Look("enactorctl status", says="freeze of format 2"), Deed("enactorctl thaw")),
        over=well,
    ),
    Drill(
        section="EnactordConfigRefused",
        fault=bad_config_at_reload,
        steps=(
            Look("systemctl status enactord", says="fence_interval_s"),
            Look("enactord check-config /etc/enactord/enactord.toml", says="repair.fence_interval_s", code=2),
            Hands(good_config_again),
            Deed("systemctl reload enactord"),
            Hands(well),
            Hands(config_that_needs_a_restart),
            Deed("systemctl restart enactord"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordCertificateExpiresSoon",
        fault=short_certificate,
        steps=(
            Look("openssl x509 -noout -enddate -in /etc/enactord/http.pem", says="notAfter="),
            Hands(renew_certificate),
        ),
        over=taken_up,
    ),
    Drill(
        section="EnactordZoneDown",
        fault=in_turn(in_thread(lambda desk: desk.primary.stop), told("cannot connect")),
        steps=(
            Look("enactorctl doctor", says="do: start the server", code=1),
            Hands(in_thread(lambda desk: desk.primary.start)),
        ),
        over=well,
    ),
    Drill(
        section="EnactordFenceAhead",
        fault=set_store_back,
        steps=(
            Look("enactorctl status", says="newest plan 102"),
            Hands(lay_plan_ready),
            Deed("enactorctl publish plan.json", says="generation 104"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordFrozen",
        fault=in_turn(by_ctl("freeze", "--repair-only", "--reason", "drill"), publish_good, told("frozen")),
        steps=(
            Look("enactorctl status", says="FROZEN (repair-only)"),
            Look("enactorctl diff 103", says="api.us-east-1.example.com"),
            Deed("enactorctl thaw"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordNoPlan",
        fault=nothing,
        steps=(
            Look("enactorctl plans", says="102"),
            Look("enactorctl planners", says="publishes"),
            Hands(lay_plan_ready),
            Deed("enactorctl publish plan.json", says="generation 103"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordStoreDamaged",
        fault=damage_head,
        steps=(
            Hands(lay_plan_ready),
            Deed("enactorctl publish plan.json", says="published generation 103"),
            Hands(in_turn(well, damage_limits)),
            Look("enactorctl limits", says="damaged"),
            Deed('enactorctl limits set targets_min 1 --reason "were damaged"'),
        ),
        over=limits_sound,
    ),
    Drill(
        section="EnactordTtlKept",
        fault=cap_ttl,
        steps=(Look("enactorctl status", says="newest plan 103"), Hands(uncap_ttl), Hands(publish_good)),
        over=well,
    ),
    Drill(
        section="EnactordPlannerPaused",
        fault=in_turn(by_ctl("planner", "pause", "--reason", "drill"), told("is paused")),
        steps=(
            Look("enactorctl planners", says="drill"),
            Hands(lay_plan_ready),
            Look("enactorctl publish plan.json --dry-run", says="nothing was stored"),
            Deed("enactorctl planner resume"),
            Hands(publish_good),
        ),
        over=well,
    ),
    Drill(
        section="EnactordOverrideStays",
        fault=overrides_that_stay,
        steps=(
            Look("enactorctl override list", says="pin"),
            Deed(
                'enactorctl override end 9f3a1c --approve --reason "the planner is right"', says="published generation"
            ),
            Hands(all_is_as_planned),
        ),
        over=well,
    ),
    Drill(
        section="EnactordLimitsDiffer",
        fault=other_limits,
        steps=(
            Look("enactorctl limits", says="this config says 2"),
            Deed('enactorctl limits set targets_min 2 --reason "two zones at least"', says="1 -> 2"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordNotVerified",
        fault=slow_repair,
        steps=(
            Look("enactorctl verify", says="8 names, 0 not as the ledger has them"),
            Hands(quick_repair),
            Deed("systemctl reload enactord"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordZoneUnknown",
        fault=send(signal.SIGSTOP),
        steps=(
            Look("enactorctl status", says="unknown"),
            Look("enactorctl verify", says="8 names, 0 not as the ledger has them"),
            Hands(send(signal.SIGCONT)),
            Deed("systemctl reload enactord"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordServerAway",
        fault=in_turn(in_thread(lambda desk: desk.secondary.stop), told("has not answered since")),
        steps=(
            Look("dig @192.0.2.54 api.us-east-1.example.com A +norecurse", says="connection refused", code=9),
            Hands(in_thread(lambda desk: desk.secondary.start)),
            Look("dig @192.0.2.54 api.us-east-1.example.com A +norecurse", says="10.102.0.1"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordServerBehind",
        fault=behind,
        steps=(
            Look("dig @192.0.2.53 us-east-1.example.com SOA +norecurse", says="SOA"),
            Look("dig @192.0.2.54 us-east-1.example.com SOA +norecurse", says="SOA"),
            Hands(lambda desk: asyncio.to_thread(desk.secondary.become, desk.primary)),
        ),
        over=well,
    ),
    Drill(
        section="EnactordNegativeTtlLong",
        fault=long_negative_ttl,
        steps=(
            Look("dig @192.0.2.53 us-east-1.example.com SOA +norecurse", says=" 3600\n"),
            Hands(lambda desk: negative_ttl(desk, 5)),
            Deed("systemctl restart enactord"),
        ),
        over=well,
    ),
    Drill(
        section="EnactordStuck",
        fault=send(signal.SIGSTOP),
        steps=(Look("journalctl -u enactord", says="started"), Hands(send(signal.SIGCONT))),
        over=well,
    ),
    Drill(
        section="EnactordBehind",
        fault=sleeps_through_a_plan,
        steps=(Deed("systemctl restart enactord"),),
        over=well,
        enactors=2,
    ),
    Drill(
        section="EnactordPlansPileUp",
        fault=many_plans_beside_a_held_name,
        steps=(Look("enactorctl prune --dry-run", says="102"), Hands(publish_good)),
        over=well,
    ),
    Drill(
        section="EnactordLogLinesLost",
        fault=reader_gone,
        steps=(Look("df -h", says="/"), Deed("systemctl restart enactord")),
        over=well,
    ),
    Drill(
        section="EnactordMixedVersions",
        fault=nothing,
        steps=(Look("enactord --version", says="enactord, version"),),
        over=well,
    ),
)
