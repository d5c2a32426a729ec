"""Whether a zone's server takes the key, serves the zone as its primary, and lets the key update it.

Nothing is changed: the first update consists of prerequisites alone; the second one removes the addresses of a name
that has none, and requires that.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from enactord.adapters.denials import RCODE_TEXTS
from enactord.adapters.primaries import FRESH_COPY_S, SeveralServers
from enactord.adapters.rfc2136 import Rfc2136Zone
from enactord.adapters.signed_soa import Word, ask_signed_soa
from enactord.adapters.wire.stream import Stream
from enactord.adapters.wire.tsig import TsigFault
from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen, OtherFence, Owner, find_stranger, parse_fence
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Change, Committed, Expect, Reason, Refused, Transaction, Unknown
from enactord.daemon.config import Address, Config, ZoneConfig
from enactord.daemon.copied import copied_installation
from enactord.daemon.doctor.check import Check, Group, State
from enactord.daemon.doctor.clock import judge_clock
from enactord.daemon.doctor.verify import Primary, check_verify
from enactord.daemon.wiring import open_zones, owns_no_key, zone_key
from enactord.engine.evidence import NEGATIVE_TTL_MAX_S
from enactord.ports import Clock, Duty, Zone

DOCTOR_LABEL = "_enactord-doctor"
"""Of the name, just below a zone, that the doctor asks to be allowed to change."""


async def check_zone(config: Config, zone: ZoneConfig, clock: Clock) -> list[Check]:
    """Look at one zone on each of its servers, and at its verify servers."""
    if owns_no_key(config, zone):
        seen = "the embedded server has not run yet: it makes its key at its first start"
        return [_told(f"{zone.name}", State.UNKNOWN, seen, "start the enactor first: enactord run --config FILE")]
    async with open_zones(replace(config, zones=(zone,))) as opened:
        port = opened[zone.name].zone
        if isinstance(port, SeveralServers):
            return await _several(config, zone, clock, port)
        if isinstance(port, Rfc2136Zone):
            found = await _Server(config, zone, clock, zone.first_server, port).look()
            return [*found.checks, *await check_verify(zone, found.primary)]
        return await _fence_alone(config, zone, port)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was seen of a zone on one server. With `Duty.OTHER` the one fault is that it is a secondary."""

    checks: Sequence[Check]
    duty: Duty = Duty.UNKNOWN
    primary: Primary | None = None


async def _several(config: Config, zone: ZoneConfig, clock: Clock, port: SeveralServers) -> list[Check]:
    """Look at each server that may be the primary.

    One of them must be. Beside it a secondary is as it should be, and what else is wrong keeps it from taking over.
    """
    found = [await _Server(config, zone, clock, server, port.of(str(server))).look() for server in zone.server]
    if not any(one.duty is Duty.PRIMARY for one in found):
        checks = [check for one in found for check in one.checks]
        return [*checks, *await check_verify(zone, None)]
    checks = []
    for one in found:
        for check in one.checks:
            match one.duty:
                case Duty.OTHER if check.state is State.FAULT:
                    checks.append(replace(check, state=State.OK, fix=""))
                case Duty.UNKNOWN if check.state is State.FAULT:
                    checks.append(replace(check, state=State.WARNING))
                case _:
                    checks.append(check)
    primary = next(one.primary for one in found if one.duty is Duty.PRIMARY)
    return [*checks, *await check_verify(zone, primary)]


class _Server:
    """One look at a zone on one DNS server."""

    def __init__(self, config: Config, zone: ZoneConfig, clock: Clock, server: Address, port: Rfc2136Zone) -> None:
        self._config = config
        self._zone = zone
        self._clock = clock
        self._server = server
        self._port = port
        self._at = f"zone[{zone.name}]"
        self._tsig = zone_key(config, zone)
        self._checks: list[Check] = []

    async def look(self) -> _Found:
        """Ask the server, step by step, for as long as its answers let the next step make sense."""
        stream = Stream(self._server.host, self._server.port, in_flight_max=1)
        try:
            word = await ask_signed_soa(stream, self._zone.name, self._tsig, self._clock, self._zone.timeout_s)
        except ZoneDown as error:
            fix = f"start the server, or correct {self._at}.server: dig @{self._server.host} -p {self._server.port}"
            self._tell("server", State.FAULT, f"no answer: {error}", f"{fix} {self._zone.name} SOA +tcp +norecurse")
            return _Found(checks=self._checks)
        finally:
            await stream.close()
        if word.clock_s is not None:
            self._checks.append(judge_clock(f"DNS server {self._server}", word.clock_s, self._clock.now()))
        if not self._key(word) or not self._served(word):
            return _Found(checks=self._checks)
        assert word.soa is not None
        self._negative(word.soa.negative_ttl_s)
        duty = await self._duty()
        if duty is Duty.OTHER:
            return _Found(checks=self._checks, duty=duty)
        seen = await self._fence()
        if seen is None:
            return _Found(checks=self._checks, duty=duty)
        await self._updates(seen)
        return _Found(checks=self._checks, duty=duty, primary=Primary(serial=word.soa.serial, fence=seen))

    def _key(self, word: Word) -> bool:
        """Judge what the server says of the key and its signature."""
        name, file = self._tsig.name, f"{self._at}.tsig_secret_file"
        match word.key_fault:
            case None:
                self._tell("key", State.OK, f"the server accepts key {name}, and signs its answers")
                return True
            case TsigFault.BADKEY:
                seen = f"BADKEY: the server does not know key {name} of algorithm {self._tsig.algorithm}"
                fix = f"add the key to the server, or name its key in {self._at}.tsig_name and {file}"
            case TsigFault.BADSIG:
                seen = f"BADSIG: the server has another secret for key {name}, or another algorithm"
                fix = (
                    f"put the secret that the server has into {file}, and its algorithm into {self._at}.tsig_algorithm"
                )
            case TsigFault.BADTIME:
                seen = f"BADTIME: the clocks are more than 300 s apart, so no signature by key {name} counts"
                fix = "chronyc makestep on the machine whose clock is wrong"
            case TsigFault.MISSING if word.rcode == 9:
                seen = (
                    f"NOTAUTH without a reason: the server has no key {name}, or another secret for it, or a clock"
                    " that is more than 300 s off (PowerDNS does not say which)"
                )
                fix = f"compare with the server's key (PowerDNS: pdnsutil list-tsig-keys), then mend {file}"
            case TsigFault.MISSING:
                text = RCODE_TEXTS.get(word.rcode, "NOERROR")
                seen = f"the answer {text} to a signed question is not signed"
                fix = f"let key {name} ask for the zone (BIND: allow-query, match-clients), and ask without a proxy"
            case fault:
                seen = f"{fault.name}: the signature of key {name}, or of the answer, is not accepted"
                fix = f"let the server use whole signatures, and compare key and algorithm with {file}"
        self._tell("key", State.FAULT, seen, fix)
        return False

    def _served(self, word: Word) -> bool:
        """Judge whether the server has the zone at all."""
        if word.rcode == 0 and word.authoritative and word.soa is not None:
            return True
        text = RCODE_TEXTS.get(word.rcode, "NOERROR")
        why = "" if word.rcode else ", without authority or without an SOA"
        seen = f"the server does not serve the zone: it answers {text}{why}"
        fix = f"add the zone to the server, let the key ask for it (BIND: allow-query), or correct {self._at}.server"
        self._tell("zone", State.FAULT, seen, fix)
        return False

    def _negative(self, negative_ttl_s: int) -> None:
        if negative_ttl_s <= NEGATIVE_TTL_MAX_S:
            self._tell("negative caching", State.OK, f"an empty answer is kept for {negative_ttl_s} s by resolvers")
            return
        seen = f"a client that saw an empty answer waits {negative_ttl_s} s after the repair"
        fix = f"set the minimum of the SOA of {self._zone.name} (its last number) to {NEGATIVE_TTL_MAX_S} or less"
        self._tell("negative caching", State.WARNING, seen, fix)

    async def _duty(self) -> Duty:
        said = await self._port.duty()
        match said.duty:
            case Duty.PRIMARY:
                self._tell("duty", State.OK, said.detail)
            case Duty.UNKNOWN:
                self._tell("duty", State.OK, f"not told: {said.detail}")
            case Duty.OTHER:
                self._tell("duty", State.FAULT, said.detail, f"name the zone's primary in {self._at}.server")
        return said.duty

    async def _is_secondary(self) -> bool:
        """Ask once more, of who refuses every update: a copy that was just made has all of its time left."""
        await asyncio.sleep(FRESH_COPY_S)
        said = await self._port.duty()
        if said.duty is Duty.OTHER:
            self._tell("duty", State.FAULT, said.detail, f"name the zone's primary in {self._at}.server")
        return said.duty is Duty.OTHER

    async def _fence(self) -> FenceSeen | None:
        try:
            seen = await self._port.read_fence()
        except ZoneDown as error:
            fix = f"look at the name: dig {fence_name(self._zone.name)} TXT +norecurse, asked of the server"
            self._tell("fence", State.FAULT, str(error), fix)
            return None
        self._checks.append(_judge_fence(self._config, self._zone, self._subject("fence"), seen))
        return seen

    async def _updates(self, seen: FenceSeen) -> None:
        """Ask by two updates whether the key may write, and whether the server compares."""
        fix = (
            f"let key {self._tsig.name} update the types A, AAAA and TXT in the zone"
            " (README, Backends: BIND update-policy, Knot acl, PowerDNS TSIG-ALLOW-DNSUPDATE)"
        )
        match await self._port.write(Transaction(fence_seen=seen)):
            case Committed():
                pass
            case Refused(reason=Reason.CONDITION):
                told = "the fence that a question shows is not what an update finds: it moved, or views differ"
                self._tell("updates", State.WARNING, told, "enactorctl doctor, once more; then compare the views")
                return
            case Refused(detail=detail):
                if not await self._is_secondary():
                    self._tell("updates", State.FAULT, f"an update that changes nothing is refused: {detail}", fix)
                return
            case Unknown(detail=detail):
                self._tell("updates", State.UNKNOWN, f"an update that changes nothing has no end: {detail}", fix)
                return
        name = f"{DOCTOR_LABEL}.{self._zone.name}"
        nothing = Change(name=name, after=NO_RECORDS, expect=Expect.NEW)
        match await self._port.write(Transaction(fence_seen=seen, changes=[nothing])):
            case Committed():
                self._tell("updates", State.OK, f"key {self._tsig.name} may update the zone; nothing was changed")
            case Refused(reason=Reason.CONDITION):
                told = f"{name} has records, so that nothing could be tried there"
                self._tell("updates", State.WARNING, told, f"remove {name} A and AAAA; enactord never writes them")
            case Refused(detail=detail):
                told = f"key {self._tsig.name} may compare, and may not change {name}: {detail}"
                self._tell("updates", State.FAULT, told, f"{fix}; a policy by names must permit this name, too")
            case Unknown(detail=detail):
                self._tell("updates", State.UNKNOWN, f"an update of nothing has no end: {detail}", fix)

    def _subject(self, what: str) -> str:
        return f"{self._zone.name} at {self._server}: {what}"

    def _tell(self, what: str, state: State, seen: str, fix: str = "") -> None:
        self._checks.append(_told(self._subject(what), state, seen, fix if state is not State.OK else ""))


async def _fence_alone(config: Config, zone: ZoneConfig, port: Zone) -> list[Check]:
    """Look at a zone whose backend is no DNS server: its fence is read, with the rights that writes need to begin."""
    subject = f"{zone.name} by {zone.backend}: fence"
    try:
        seen = await port.read_fence()
    except ZoneDown as error:
        fix = f"check the backend's keys in zone[{zone.name}], and its rights (README, Backends)"
        return [_told(subject, State.FAULT, str(error), fix)]
    return [_judge_fence(config, zone, subject, seen), *await check_verify(zone, None)]


def _judge_fence(config: Config, zone: ZoneConfig, subject: str, seen: FenceSeen) -> Check:
    """Judge what stands at the fence's name."""
    owner = Owner(scope=config.enactor.scope, installation=copied_installation(config))
    stranger = find_stranger(seen, owner)
    if isinstance(stranger, OtherFence):
        told = f"what stands there is not read by this version: {stranger.text}"
        fix = f"start the version that writes {stranger.version}" if stranger.version else _take(zone)
        return _told(subject, State.FAULT, told, fix)
    if stranger is not None and stranger.scope == owner.scope:
        told = f"the zone is fenced by another installation {stranger.installation}; ours is {owner.installation}"
        return _told(subject, State.FAULT, told, f"only where that installation is gone for good: {_take(zone)}")
    found = parse_fence(seen)
    if found is None:
        if not seen:
            return _told(subject, State.OK, "none stands yet: the first plan raises it")
        told = f"garbage stands there: {', '.join(repr(rdata[1:41]) for rdata in seen)}"
        return _told(subject, State.WARNING, told, "none is needed: the next plan replaces it. Find who wrote it")
    if found.scope != config.enactor.scope:
        told = f"the zone is fenced by scope {found.scope}, and this config is of scope {config.enactor.scope}"
        fix = (
            f"correct enactor.scope, or take zone[{zone.name}] out of this config; only where scope {found.scope} is"
            f" gone for good: delete {fence_name(zone.name)} TXT at the server"
        )
        return _told(subject, State.FAULT, told, fix)
    if found.hold:
        return _told(
            subject, State.WARNING, f"held by an operator: {found.hold}", f"enactorctl emergency release {zone.name}"
        )
    return _told(subject, State.OK, f"generation {found.generation} of this scope")


def _take(zone: ZoneConfig) -> str:
    return f"enactorctl zone take {zone.name} --reason TEXT"


def _told(subject: str, state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.ZONES, subject=subject, state=state, seen=seen, fix=fix)
