"""Servers whose policy does not let the key "enactor" change every name: never those whose first label is forbidden."""

from tests.servers.bind import Bind
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns

FORBIDDEN = tuple(f"forbidden{number or ''}" for number in range(4))
"""First labels, just below a zone's name."""
OK = "ok"
"""Names below this label may be changed on each of the servers."""


class ChoosyBind(Bind):
    """named answers REFUSED to a message with such a name."""

    def zone_stanza(self, zone: str) -> str:
        denied = " ".join(f"deny enactor name {label}.{zone} ANY;" for label in FORBIDDEN)
        stanza = super().zone_stanza(zone)
        assert "{ grant enactor" in stanza
        return stanza.replace("{ grant enactor", f"{{ {denied} grant enactor", 1)


class ChoosyKnot(Knot):
    """knotd answers NOTAUTH to a message with such a name, as to a key without permission.

    Its rules can only permit names: those below `OK`, and the fence's.
    """

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / self.template
        types = "update-type: [A, AAAA, TXT]\n"
        names = (
            f"    update-owner: name\n    update-owner-match: sub-or-equal\n    update-owner-name: [{OK}, _enactord]\n"
        )
        text = path.read_text()
        assert text.count(types) == 1
        path.write_text(text.replace(types, types + names))


class ChoosyPowerDns(PowerDns):
    """pdns_server leaves such a name out in silence, and answers success."""

    def _write_config(self) -> None:
        super()._write_config()
        script = self.dir / "policy.lua"
        wanted = " or ".join(f'string.find(name, "^{label}%.")' for label in FORBIDDEN)
        script.write_text(
            "function updatepolicy(input)\n"
            "  local name = input:getQName():toString()\n"
            "  local key = input:getTsigName():toString()\n"
            '  if string.find(key, "^foreign") then return true end\n'
            f'  return string.find(key, "^enactor") ~= nil and not ({wanted})\n'
            "end\n"
        )
        path = self.dir / self.template
        path.write_text(path.read_text() + f"lua-dnsupdate-policy-script={script}\n")
