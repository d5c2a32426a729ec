"""What a DNS server's "no" means, and what mends it, in words for the operator."""

from dataclasses import replace

from enactord.core.records import Refused
from enactord.ports import Duty, Said
from enactord.wire.expire import Expiry
from enactord.wire.names import Malformed
from enactord.wire.tsig import TsigError, TsigFault, TsigKey, find_tsig

RCODE_TEXTS = {
    1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
    7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE",
}  # fmt: skip
"""Source: RFC 2136 section 2.2."""

TSIG_NAMES = {16: "BADSIG", 17: "BADKEY", 18: "BADTIME", 22: "BADTRUNC"}
"""Source: RFC 8945 section 3."""

TSIG_FIXES = {
    16: "BADSIG: the server has another secret for this key",
    17: "BADKEY: the server does not know this key, or does not permit it this",
    18: "BADTIME: the clocks are too far apart; set this machine's or the server's",
    22: "BADTRUNC: the server wants a longer signature",
}
"""Source: RFC 8945 section 5.2; Knot answers BADKEY to a known key without permission."""

UPDATE_FIXES = {
    5: "this server is a secondary of the zone and not its primary, or the zone is frozen (BIND: rndc thaw), or the"
    " server's update policy does not let the key update the zone and the types A, AAAA and TXT in it;"
    " PowerDNS says no more than this for another secret, an unknown key and a clock too far off, too",
    9: "this server does not serve the zone as its primary, or does not let this key update it",
}

_QUESTION_FIXES = {
    5: "this server does not serve the zone to this key, or does not let it ask (BIND: match-clients of the view,"
    " allow-query)",
    9: "the server has no such key, or another secret for it, or a clock too far off; PowerDNS does not say which",
}
_UNSIGNED_FIXES = {
    5: "the server does not serve the zone, or does not let this machine ask without a key",
}
_SOMEBODY = "somebody may answer in the server's place, or change its answers on the way"


def tsig_error(reply: bytes) -> int:
    """Return the error that a reply's TSIG record names, 0 where there is none. Verifies nothing."""
    try:
        record = find_tsig(reply)
    except Malformed:
        return 0
    return 0 if record is None else record.error


def question_denied(rcode: int, key: TsigKey | None, fault: int = 0) -> str:
    """Say what an error answer to a question means. `key`: that signed the question; `fault`: the TSIG error."""
    text = RCODE_TEXTS.get(rcode, f"rcode {rcode}")
    if key is None:
        fix = _UNSIGNED_FIXES.get(rcode)
        return f"answered {text}: {fix}" if fix else f"answered {text}"
    fix = TSIG_FIXES.get(fault) or _QUESTION_FIXES.get(rcode)
    return f"answered {text} to key {key.name}: {fix}" if fix else f"answered {text} to key {key.name}"


def answer_unproved(reply: bytes, key: TsigKey, error: TsigError) -> str:
    """Say why an answer to a question that the key signed is not believed."""
    rcode = reply[3] & 0xF
    if rcode not in (0, 3):  # it would tell nothing of a name if it were signed
        return question_denied(rcode, key, tsig_error(reply))
    match error.kind:
        case TsigFault.MISSING:
            why = "it is not signed"
        case TsigFault.BADTIME:
            return f"an answer to key {key.name} is not believed: {error}; {TSIG_FIXES[TsigFault.BADTIME]}"
        case _:
            why = str(error)
    return f"an answer to key {key.name} is not believed: {why}; {_SOMEBODY}"


def said(expiry: Expiry) -> Said:
    """Return what a signed answer to the question for EXPIRE says of the server's duty."""
    if expiry.rcode in (5, 9):
        detail = f"it answers {RCODE_TEXTS[expiry.rcode]} when it is asked for the zone: it does not serve it"
        return Said(duty=Duty.OTHER, detail=detail)
    if expiry.rcode != 0:
        return Said(duty=Duty.UNKNOWN, detail=f"answered {RCODE_TEXTS.get(expiry.rcode, f'rcode {expiry.rcode}')}")
    if not expiry.authoritative or expiry.expire_s is None:
        return Said(duty=Duty.OTHER, detail="it is not authoritative for the zone")
    if expiry.left_s is None:
        return Said(duty=Duty.UNKNOWN, detail="it does not tell a primary from a secondary (no EXPIRE in its answer)")
    if expiry.left_s < expiry.expire_s:
        detail = f"it is a secondary of the zone: its copy expires in {expiry.left_s} s"
        return Said(duty=Duty.OTHER, detail=detail)
    return Said(duty=Duty.PRIMARY, detail="it is the zone's primary")


def refused_whole(asked: Said, key: TsigKey, outcome: Refused) -> Refused:
    """Say why an update is refused that changes nothing, or the fence alone, by what the server says of its duty."""
    if asked.duty is Duty.UNKNOWN:
        return outcome
    answer = outcome.answer
    why = f"{asked.detail}; name the zone's primary in `server`"
    if asked.duty is Duty.PRIMARY:
        why = (
            f"{asked.detail}, and refuses every update: the zone is frozen (BIND: rndc thaw), or does not let this"
            " key update it (allow-update)"
        )
    return replace(outcome, detail=f"{answer} for key {key.name}: {why}")
