"""The errors of enactord: the world failed, or the caller asked for what cannot be.

An expected "no" is not an error but a value (`Refusal`, `Refused`).
"""


class EnactordError(Exception):
    """Base of all errors that enactord raises on purpose; the message names what to do."""


class InvalidName(EnactordError):
    """A text that is no host name in the form enactord accepts."""


class InvalidPlan(EnactordError):
    """A plan that cannot be accepted whatever the state of the zone.

    `problems` holds every problem found, in the order of the document, at most
    `MAX_PROBLEMS` of them (see `core.plan`).
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class ConfigError(EnactordError):
    """A configuration that cannot be used; `problems` holds each as "line N: key: what to do"."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class PlanUnreadable(EnactordError):
    """A stored plan whose manifest or chunk is missing or does not match its digest."""


class PlanOfOtherFormat(PlanUnreadable):
    """A stored plan whose manifest or chunk another version has written; the message names both formats."""


class ArchiveUnreadable(EnactordError):
    """A backup that is damaged, cut short, or none; or a restore that somebody else's act stopped."""


class CopyUnreadable(EnactordError):
    """The copy on local disk cannot be used; it counts as empty, and the next save makes another."""


class StoreDown(EnactordError):
    """The plan store did not answer; nothing was changed by this call."""


class StoreUnknown(StoreDown):
    """The plan store did not answer a transaction: it may or may not have been carried out."""


class StoreRefused(EnactordError):
    """The plan store answered, and will not do this: bad credentials, quota, a request too large."""


class StoreFull(StoreRefused):
    """The plan store has no room: it answers questions, and takes nothing that needs any."""


class StoreNotOurs(EnactordError):
    """The store that answers is not the one that this enactor knows: it is empty, or another installation's."""


class IdTaken(EnactordError):
    """Another process is alive under the id of this enactor."""


class Compacted(EnactordError):
    """The revision asked for is gone from the store; read afresh, from `revision` or later."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"revisions below {revision} are compacted")


class LeaseLost(EnactordError):
    """The lease has expired or was revoked; all keys attached to it are gone."""


class ZoneDown(EnactordError):
    """A DNS server did not answer a question. (A write that got no answer is `Unknown`, a value.)"""


class ZoneUnproved(ZoneDown):
    """The server answers, and its answers do not count: key or clock are refused, or it does not serve the zone."""


class ZoneOdd(ZoneDown):
    """The server answers, and what stands in the zone keeps enactord from working there; the message says what."""


class EnactorAway(EnactordError):
    """An enactor's HTTP gives no answer. What was asked, if it was an order, has not reached it."""


class EnactorUnknown(EnactorAway):
    """An enactor's HTTP gave no answer to an order: it may or may not have been carried out."""


class NoEnactor(EnactordError):
    """What answers over HTTP is not an enactor; the message says what it is like."""
