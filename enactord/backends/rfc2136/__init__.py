"""DNS UPDATE over TCP, signed by TSIG: BIND, Knot, PowerDNS, and the embedded server."""
