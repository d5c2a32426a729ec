"""Whether a zone's server takes the key, serves the zone as its primary, and lets the key update it.

Nothing is changed: the first update consists of prerequisites alone; the second one removes the addresses of a name
that has none, and requires that.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from enactord.backends.backend import ZoneConfig
from enactord.backends.rfc2136.denials import RCODE_TEXTS
from enactord.backends.rfc2136.keys import UpdatedZone
from enactord.backends.rfc2136.primaries import FRESH_COPY_S, SeveralServers
from enactord.backends.rfc2136.signed_soa import Word, ask_signed_soa
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.config.files import is_there
from enactord.config.tables import Config
from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen, OtherFence, Owner, Stranger, find_stranger, parse_fence
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Change, Committed, Expect, Reason, Refused, Transaction, Unknown
from enactord.daemon.wiring import open_zones
from enactord.doctor.aside import beside
from enactord.doctor.check import Check, Group, State
from enactord.doctor.clock import judge_clock
from enactord.doctor.verify import Primary, check_verify
from enactord.engine.evidence import NEGATIVE_TTL_MAX_S
from enactord.ports import Clock, Duty, ZoneBackend
from enactord.wire.address import Address
from enactord.wire.stream import Stream
from enactord.wire.tsig import TsigFault

DOCTOR_LABEL = "_enactord-doctor"
"""Of the name, just below a zone, that the doctor asks to be allowed to change."""


def lacks_key(config: Config, zone: UpdatedZone) -> bool:
    """Whether a zone's key is still to be made. Raises `PermissionError` where this user may not look."""
    made = zone.own_key_file(config.enactor.state_dir)
    return made is not None and not is_there(made)


async def check_zone(config: Config, zone: ZoneConfig, clock: Clock, installation: str | None) -> list[Check]:
    """Look at one zone on each of its servers, and at its verify servers.

    `installation`: our id; "": there is none yet; None: nobody tells it.
    """
    if isinstance(zone, UpdatedZone) and await beside(lambda: lacks_key(config, zone)):
        seen = "the embedded server has not run yet: it makes its key at its first start"
        return [_told(f"{zone.name}", State.UNKNOWN, seen, "start the enactor first: enactord run --config FILE")]
    async with open_zones(replace(config, zones=(zone,))) as opened:
        port = opened[zone.name].zone
        if isinstance(zone, UpdatedZone) and isinstance(port, SeveralServers):
            return await _several(config, zone, clock, port, installation)
        if isinstance(zone, UpdatedZone) and isinstance(port, Rfc2136Zone):
            found = await _Server(config, zone, clock, zone.first_server, port, installation).look()
            return [*found.checks, *found.duty_checks, *await check_verify(zone, found.primary)]
        return await _fence_alone(config, zone, port, installation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What was seen of a zone on one server. `duty_checks`: what its duty is, apart: beside a primary it may be any."""

    checks: Sequence[Check]
    duty: Duty = Duty.UNKNOWN
    duty_checks: Sequence[Check] = ()
    primary: Primary | None = None


async def _several(
    config: Config, zone: UpdatedZone, clock: Clock, port: SeveralServers, installation: str | None
) -> list[Check]:
    """Look at each server that may be the primary.

    One of them must be. Beside it a secondary is as it should be, and what else is wrong keeps it from taking over.
    """
    found = [
        await _Server(config, zone, clock, server, port.of(str(server)), installation).look() for server in zone.server
    ]
    primaries = [server for server, one in zip(zone.server, found, strict=True) if one.duty is Duty.PRIMARY]
    if not primaries:
        checks = [check for one in found for check in (*one.checks, *one.duty_checks)]
        return [*checks, *await check_verify(zone, None)]
    checks = []
    for one in found:
        checks += [_beside_a_primary(check) if one.duty is Duty.UNKNOWN else check for check in one.checks]
        checks += [replace(check, state=State.OK, fix="") for check in one.duty_checks]
    if len(primaries) > 1:
        seen = f"{len(primaries)} servers say that they are its primary: {', '.join(map(str, primaries))}"
        fix = (
            f"let one be the primary, and the others copy the zone from it; or name one in zone[{zone.name}].server:"
            " what is written on one is not served by the others"
        )
        checks.append(_told(f"{zone.name}: primaries", State.WARNING, seen, fix))
    primary = next(one.primary for one in found if one.duty is Duty.PRIMARY)
    return [*checks, *await check_verify(zone, primary)]


def _beside_a_primary(check: Check) -> Check:
    """Return what a server does that is not needed now. A clock that is off is wrong wherever it is."""
    if check.state is State.FAULT and check.group is Group.ZONES:
        return replace(check, state=State.WARNING)
    return check


class _Server:
    """One look at a zone on one DNS server."""

    def __init__(
        self,
        config: Config,
        zone: UpdatedZone,
        clock: Clock,
        server: Address,
        port: Rfc2136Zone,
        installation: str | None,
    ) -> None:
        self._config = config
        self._zone = zone
        self._clock = clock
        self._server = server
        self._port = port
        self._at = f"zone[{zone.name}]"
        self._installation = installation
        self._tsig = zone.tsig(config.enactor.state_dir)
        self._duty_checks: list[Check] = []
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
            return self._found(duty)
        seen = await self._fence()
        if seen is None:
            return self._found(duty)
        if await self._updates(seen):
            return self._found(Duty.OTHER)
        return replace(self._found(duty), primary=Primary(serial=word.soa.serial, fence=seen))

    def _found(self, duty: Duty) -> _Found:
        return _Found(checks=self._checks, duty=duty, duty_checks=self._duty_checks)

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
                self._tell_duty(State.OK, said.detail)
            case Duty.UNKNOWN:
                self._tell_duty(State.OK, f"not told: {said.detail}")
            case Duty.OTHER:
                self._tell_duty(State.FAULT, said.detail, f"name the zone's primary in {self._at}.server")
        return said.duty

    async def _is_secondary(self) -> bool:
        """Ask once more, of who refuses every update: a copy that was just made has all of its time left."""
        await asyncio.sleep(FRESH_COPY_S)
        return await self._duty() is Duty.OTHER

    def _tell_duty(self, state: State, seen: str, fix: str = "") -> None:
        self._duty_checks = [_told(self._subject("duty"), state, seen, fix)]

    async def _fence(self) -> FenceSeen | None:
        try:
            seen = await self._port.read_fence()
        except ZoneDown as error:
            fix = f"look at the name: dig {fence_name(self._zone.name)} TXT +norecurse, asked of the server"
            self._tell("fence", State.FAULT, str(error), fix)
            return None
        self._checks.append(judge_fence(self._config, self._zone, self._subject("fence"), seen, self._installation))
        return seen

    async def _updates(self, seen: FenceSeen) -> bool:
        """Ask by two updates whether the key may write, and whether the server compares.

        Returns whether the server turned out to be a secondary.
        """
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
                return False
            case Refused(detail=detail):
                if await self._is_secondary():
                    return True
                self._tell("updates", State.FAULT, f"an update that changes nothing is refused: {detail}", fix)
                return False
            case Unknown(detail=detail):
                self._tell("updates", State.UNKNOWN, f"an update that changes nothing has no end: {detail}", fix)
                return False
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
        return False

    def _subject(self, what: str) -> str:
        return f"{self._zone.name} at {self._server}: {what}"

    def _tell(self, what: str, state: State, seen: str, fix: str = "") -> None:
        self._checks.append(_told(self._subject(what), state, seen, fix if state is not State.OK else ""))


async def _fence_alone(config: Config, zone: ZoneConfig, port: ZoneBackend, installation: str | None) -> list[Check]:
    """Look at a zone whose backend is no DNS server: its fence is read, with the rights that writes need to begin."""
    subject = f"{zone.name} by {zone.backend}: fence"
    try:
        seen = await port.read_fence()
    except ZoneDown as error:
        fix = f"check the backend's keys in zone[{zone.name}], and its rights (README, Backends)"
        return [_told(subject, State.FAULT, str(error), fix)]
    return [judge_fence(config, zone, subject, seen, installation), *await check_verify(zone, None)]


def judge_fence(config: Config, zone: ZoneConfig, subject: str, seen: FenceSeen, installation: str | None) -> Check:
    """Judge what stands at the fence's name. `installation`: as `check_zone` has it."""
    scope = config.enactor.scope
    stranger = _find_stranger(seen, scope, installation)
    if isinstance(stranger, OtherFence):
        told = f"what stands there is not read by this version: {stranger.text}"
        fix = f"start the version that writes {stranger.version}" if stranger.version else _take(zone)
        return _told(subject, State.FAULT, told, fix)
    if stranger is not None and stranger.scope == scope and not installation:
        told = f"the zone is fenced by installation {stranger.installation}, and our plan store has no id: it is empty"
        fix = (
            "enactorctl restore --from-copy, or enactorctl restore BACKUP; only where that installation is gone for"
            f" good: {_take(zone)}"
        )
        return _told(subject, State.FAULT, told, fix)
    if stranger is not None and stranger.scope == scope:
        told = f"the zone is fenced by another installation {stranger.installation}; ours is {installation}"
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
    told = f"generation {found.generation} of this scope"
    if found.installation and installation is None:
        told += f"; of installation {found.installation}: whether that is ours neither store nor local copy tells"
    return _told(subject, State.OK, told)


def _find_stranger(seen: FenceSeen, scope: str, installation: str | None) -> Stranger | None:
    """Return what at a fence's name is not ours; each record is judged by itself."""
    for rdata in seen:
        fence = parse_fence((rdata,))
        if fence is None or fence.scope != scope:
            stranger = find_stranger((rdata,), Owner(scope=scope))
            if stranger is not None:
                return stranger
        elif installation is not None and fence.installation not in ("", installation):
            return fence
    return None


def _take(zone: ZoneConfig) -> str:
    return f"enactorctl zone take {zone.name} --reason TEXT"


def _told(subject: str, state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.ZONES, subject=subject, state=state, seen=seen, fix=fix)
