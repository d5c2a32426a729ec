"""DNS servers that are written by DNS UPDATE."""

from tests.contract.sites.base import Kind, alone, shared
from tests.servers.bind import Bind
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns

KINDS = (
    Kind(name="bind", open=shared(Bind), own=alone(Bind), cuts=frozenset({"NS", "DNAME"})),
    Kind(name="knot", open=shared(Knot), own=alone(Knot), cuts=frozenset({"NS", "DNAME"})),
    # As it comes, it does not follow a DNAME.
    Kind(name="powerdns", open=shared(PowerDns), own=alone(PowerDns), cuts=frozenset({"NS"})),
)
