"""`python -m tests.browser [FILE]`: make the screenshot of the status page anew, in the middle of a plan."""

import asyncio
import sys
from pathlib import Path

from tests.browser.chromium import chromium, view
from tests.browser.region import HELD, rollout

FILE = Path(__file__).parents[2] / "docs" / "status-page.png"


async def shoot(path: Path) -> None:
    """Write what the page shows, down to the end of the endpoints' first rows."""
    async with rollout() as site, chromium() as browser, view(browser, site.url, height=1000) as seen:
        await seen.page.locator("#held", has_text=HELD).wait_for()
        await seen.page.locator("#endpoints > li").first.wait_for()
        await seen.page.locator("#plans > li").first.wait_for()
        await seen.page.screenshot(path=path)


asyncio.run(shoot(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE))
