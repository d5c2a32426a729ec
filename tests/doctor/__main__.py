"""`python -m tests.doctor`: make README's table of servers and docs/conformance.md anew, by trials of each server."""

import asyncio

from tests.doctor.servers_table import PAGE, README, page, readme_rows, results, spliced

found = asyncio.run(results())
PAGE.write_text(page(found), encoding="utf-8")
README.write_text(spliced(README.read_text(encoding="utf-8"), readme_rows(found)), encoding="utf-8")
