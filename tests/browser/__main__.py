"""Make pictures of the status page.

python -m tests.browser                 docs/status-page.png, status-incident.png and status-refused.png anew
python -m tests.browser states FOLDER   each state: light, dark and on a phone; one of 10,000 endpoints
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.browser.chromium import chromium, view
from tests.browser.region import HELD, rollout
from tests.browser.states import STATES, in_state
from tests.http.site import Site

DOCS = Path(__file__).parents[2] / "docs"
MANY = 10_000
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"width": 1280, "height": 1000, "color_scheme": "light"},
    "dark": {"width": 1280, "height": 1000, "color_scheme": "dark"},
    "phone": {"width": 390, "height": 1400, "color_scheme": "light"},
}


async def _shoot(
    browser: Browser, site: Site, path: Path, look: str = "light", *, held: str = "", opened: str = ""
) -> None:
    """Write what the page shows, once its lists are there. `opened`: what is clicked before."""
    async with view(browser, site.url, **LOOKS[look]) as seen:
        if held:
            await seen.page.locator("#held", has_text=held).wait_for()
        await seen.page.locator("#endpoints > li").first.wait_for()
        if opened:
            await seen.page.locator(opened).first.click()
        await asyncio.sleep(0.5)
        await seen.page.screenshot(path=path)


async def docs() -> None:
    """Make the pictures of the documents: in the middle of a plan, in an incident, after a refusal."""
    async with chromium() as browser:
        async with rollout() as site:
            await _shoot(browser, site, DOCS / "status-page.png", held=HELD)
        async with in_state("incident") as site:
            await _shoot(browser, site, DOCS / "status-incident.png")
        async with in_state("kept") as site:
            await _shoot(browser, site, DOCS / "status-refused.png", opened="#refused > li summary")


async def states(folder: Path) -> None:
    """Make a picture of each state in each look, to judge them."""
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        for name in STATES:
            async with in_state(name) as site:
                for look in LOOKS:
                    await _shoot(browser, site, folder / f"{name}-{look}.png", look)
        async with in_state("incident", count=MANY) as site:
            await _shoot(browser, site, folder / "many-light.png")


match sys.argv[1:]:
    case []:
        asyncio.run(docs())
    case ["states", folder]:
        asyncio.run(states(Path(folder)))
    case _:
        sys.exit(__doc__)
