"""Planning: a fleet published as plans, first whole and then change by change, whatever happens to the store."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from enactord.core.content import content_json, parse_content
from enactord.core.errors import PlanUnreadable, StoreDown, StoreRefused
from enactord.core.plan import parse_plan
from enactord.operations.acts import Denied, Published, Scope, publish
from enactord.store.plans import Orders
from planner_stub.fleet import Fleet, plan_document

_PORTION = 40_000
"""Most endpoints of one document: it stays below the size limit of a plan."""
_REMOVED_MAX_RATIO = 0.1
"""Below the guards' default of 0.2 (`endpoints_removed_max_ratio`)."""
_RETRY_FIRST_S = 0.25
_RETRY_CAP_S = 15.0

Say = Callable[..., None]
"""Told an event and its facts; one line a plan."""


class Planner:
    """Publishes what a fleet looks like."""

    def __init__(self, scope: Scope, fleet: Fleet, *, author: str, churn: float, rng: random.Random, say: Say) -> None:
        self._scope = scope
        self._fleet = fleet
        self._author = author
        self._churn = churn
        self._rng = rng
        self._say = say
        self._base = 0
        self._dirty: dict[str, None] = {}
        self._synced = False

    async def run(self, *, interval_s: float, rounds: int | None) -> None:
        """Bring the store to the fleet, then publish its changes each interval, for so many rounds."""
        loop = asyncio.get_running_loop()
        done = 0
        due = loop.time()
        while rounds is None or done < rounds:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + interval_s, loop.time())
            if self._synced:
                self._dirty.update(dict.fromkeys(self._fleet.step(self._churn)))
            await self._until_published()
            done += 1

    async def _until_published(self) -> None:
        """Publish what is due, trying again with full jitter while the store is away."""
        cap_s = _RETRY_FIRST_S
        while True:
            try:
                if await self._publish_due():
                    return
            except (StoreDown, StoreRefused, PlanUnreadable) as error:
                self._say("store.down", detail=str(error))
                self._synced = False  # a publication may have landed unseen
            cap_s = min(_RETRY_CAP_S, cap_s * 2)
            await asyncio.sleep(self._rng.uniform(0.0, cap_s))

    async def _publish_due(self) -> bool:
        """Publish what is due; False: it was refused, and another look at the store is needed."""
        if not self._synced:
            return await self._sync()
        names = list(self._dirty)
        done = await self._send(self._fleet.contents(names), (), base=self._base)
        if done:
            for name in names:
                self._dirty.pop(name, None)
        else:
            self._synced = False
        return done

    async def _sync(self) -> bool:
        """Bring the newest plan to what the fleet looks like: a whole plan first, changes after that."""
        self._base, _ = await self._scope.plans.newest()
        wanted = self._fleet.contents()
        if self._base == 0:
            first = dict(list(wanted.items())[:_PORTION])
            if not await self._send(first, (), base=None):
                return False
            stored = first
        else:
            stored = await self._stored(self._base)
            if not stored:
                if not await self._send(wanted, (), base=None):
                    return False
                stored = wanted
        changed = {name: content for name, content in wanted.items() if stored.get(name) != content}
        surplus = sorted(stored.keys() - wanted.keys())[: int(len(stored) * _REMOVED_MAX_RATIO)]
        names = list(changed)
        portions = [names[start : start + _PORTION] for start in range(0, len(names), _PORTION)] or [[]]
        for number, portion in enumerate(portions):
            gone = surplus if number == 0 else []
            if (portion or gone) and not await self._send({n: changed[n] for n in portion}, gone, base=self._base):
                return False
        self._synced = True
        self._dirty.clear()
        return True

    async def _stored(self, generation: int) -> dict[str, str]:
        """Return what a plan holds; nothing where nobody can read it, and changes of it would be refused."""
        try:
            manifest = await self._scope.plans.manifest(generation)
            return {} if manifest is None else await self._scope.plans.planned(manifest)
        except PlanUnreadable:
            return {}

    async def _send(self, contents: Mapping[str, str], gone: Sequence[str], *, base: int | None) -> bool:
        """Send one document, as a planner would; returns whether it was published."""
        endpoints: dict[str, object] = {name: content_json(parse_content(text)) for name, text in contents.items()}
        endpoints |= {name: {"withdraw": True} for name in gone}
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        document = plan_document(self._scope.name, endpoints, author=self._author, created_at=created_at, base=base)
        draft = parse_plan(json.dumps(document, separators=(",", ":")).encode("utf-8"))
        done = await publish(self._scope, draft, Orders(author=self._author))
        if isinstance(done, Denied):
            self._say("plan.refused", base=base, refusals=[str(refusal) for refusal in done.refusals])
            return False
        self._note(done, len(contents), len(gone))
        return True

    def _note(self, done: Published, changed: int, withdrawn: int) -> None:
        manifest = done.manifest
        self._base = manifest.generation
        self._say(
            "plan.published",
            generation=manifest.generation,
            digest=manifest.digest[:16],
            endpoints=manifest.endpoints,
            changed=changed,
            withdrawn=withdrawn,
            held=len(done.held),
        )
