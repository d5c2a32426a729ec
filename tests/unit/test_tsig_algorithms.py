"""Signatures of each algorithm, judged by dnspython."""

import time

import dns.message
import dns.rdatatype
import dns.tsig
import pytest

from enactord.wire.tsig import ALGORITHMS, TsigKey, sign, verify


@pytest.mark.parametrize("secret_bytes", [1, 48, 64, 65, 128, 129, 300])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_signature_is_good_to_dnspython_and_its_to_us(algorithm: str, secret_bytes: int) -> None:
    """Both sides compute the same, for every algorithm that the config takes and secrets around its block."""
    secret = bytes(number % 256 for number in range(secret_bytes))
    key = TsigKey(name="enactor", algorithm=algorithm, secret=secret)
    keyring = {dns.name.from_text("enactor"): dns.tsig.Key("enactor", secret, algorithm)}
    now_s = int(time.time())
    message, _ = sign(dns.message.make_query("a.example.test.", dns.rdatatype.A).to_wire(), key, now_s=now_s)
    assert dns.message.from_wire(message, keyring=keyring).had_tsig
    query = dns.message.make_query("a.example.test.", dns.rdatatype.A)
    query.use_tsig(keyring, "enactor", algorithm=algorithm)
    assert verify(query.to_wire(), [key], now_s=now_s).key is key
