"""`python -m tests.mistakes`: write docs/mistakes.md anew, from what the programs say now."""

import tempfile
from pathlib import Path

from tests.docs.reference import ROOT
from tests.mistakes.bench import Said
from tests.mistakes.mistakes import MISTAKES
from tests.mistakes.page import mistakes_page
from tests.mistakes.servers import running

said: dict[str, Said] = {}
with running() as servers:
    for mistakes in MISTAKES.values():
        for mistake in mistakes:
            with tempfile.TemporaryDirectory() as folder:
                said[mistake.wrong] = mistake.commit(Path(folder), servers)
(ROOT / "docs" / "mistakes.md").write_text(mistakes_page(said), encoding="utf-8")
