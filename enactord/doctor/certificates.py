"""Whether the certificates that the config names are valid, and for how long."""

from collections.abc import Iterable

from enactord.core.moment import utc
from enactord.daemon.certificates import Certificate
from enactord.doctor.check import Check, Group, State

SOON_S = 14 * 86_400.0
"""So long before its end a certificate is warned of: as long as the alert EnactordCertificateExpiresSoon has it."""


def check_certificates(certificates: Iterable[Certificate], now: float) -> list[Check]:
    """Judge certificates by the time that they have left."""
    return [_check(certificate, now) for certificate in certificates]


def _check(certificate: Certificate, now: float) -> Check:
    left_s = certificate.expires_at - now
    days = abs(left_s) / 86_400
    until = utc(certificate.expires_at)
    fix = f"put a new certificate into the file of {certificate.key}; it is taken up without a restart"
    if left_s <= 0:
        state, seen = State.FAULT, f"it expired {days:.1f} days ago, at {until}"
    elif left_s < SOON_S:
        state, seen = State.WARNING, f"it expires in {days:.1f} days, at {until}"
    else:
        state, seen, fix = State.OK, f"it is valid for {days:.0f} more days, until {until}", ""
    return Check(group=Group.CERTIFICATES, subject=certificate.key, state=state, seen=seen, fix=fix)
