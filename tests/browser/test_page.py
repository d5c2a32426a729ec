"""The status page, as a person sees it in Chromium, of an enactor that runs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from enactord.store.control import Freeze, freeze
from tests.browser.chromium import WAIT_MS, chromium, view
from tests.browser.region import HELD, SCOPE, ZONES, Fleet, Region, rollout
from tests.http.site import Site, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")
expect.set_options(timeout=WAIT_MS)

COUNT = 60
OVERFLOWS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Region, Site, Fleet]]:
    """A region at plan 1, which somebody may change."""
    region = Region()
    try:
        member = await region.add("enactor-a")
        fleet = Fleet(COUNT)
        await region.publish(fleet.plan())
        await region.applied(1)
        async with serving(member) as site:
            yield region, site, fleet
    finally:
        await region.close()


async def test_page_loads_whole_and_asks_nobody_else(browser: Browser) -> None:
    """Every part shows what is there; nothing is said on the console, and no other host is asked."""
    async with rollout() as site, view(browser, site.url) as seen:
        page = seen.page
        await expect(page.locator("#scope")).to_have_text(SCOPE)
        await expect(page.locator("#step-head")).to_have_text("122")
        await expect(page.locator("#installation")).to_have_text(re.compile("^[0-9a-f]{16}$"))
        await expect(page.locator("#step-applied")).to_have_text("121–122")  # one zone waits for its server
        await expect(page.locator("#zones > tr")).to_have_count(len(ZONES))
        await expect(page.locator("#plans > li")).not_to_have_count(0)
        await expect(page.locator("#enactors > li")).to_have_count(3)
        await expect(page.locator("#repairs > li")).to_contain_text("emptied")
        await expect(page.locator("#news > li")).not_to_have_count(0)
        await expect(page).to_have_title(f"… 122 · {SCOPE} · enactord")
        asked = {urlsplit(url).netloc for url in seen.requests if not url.startswith("data:")}
        assert asked == {f"127.0.0.1:{site.port}"}


async def test_page_tells_who_did_what(browser: Browser) -> None:
    """A freeze and its end come up by themselves, newest first, with name, role and reason; nothing hides in a text."""
    async with running() as (_, site, _), view(browser, site.url) as seen:
        acts = seen.page.locator("#acts > li")
        await expect(seen.page.locator("#acts-none")).to_have_text("Nothing yet.")
        await site.post("/api/v1/freeze", json={"mode": "repair-only", "reason": "INC-4711 \u202e"})
        await expect(acts).to_have_count(1)
        await expect(acts.first).to_contain_text("alice")
        await expect(acts.first).to_contain_text("operator")
        await expect(acts.first).to_contain_text("freeze: INC-4711 \\u202e")
        await site.post("/api/v1/thaw", json={"reason": "over"})
        await expect(acts).to_have_count(2)
        await expect(acts.first).to_contain_text("thaw: over")
        await expect(acts.first).to_contain_text("frozen by alice")
        await expect(seen.page.locator("#acts-none")).to_be_hidden()


async def test_a_refused_publication_shows_why_what_and_how_to_approve_it(browser: Browser) -> None:
    """It comes up by itself, opens to its diff and its command, and goes once it is approved."""
    async with running() as (region, site, fleet), view(browser, site.url) as seen:
        section = seen.page.locator("#refused-section")
        await expect(section).to_be_hidden()
        small = dict(fleet.plan(endpoints=dict(list(fleet.endpoints.items())[: COUNT // 2])))
        kept = (await site.post("/api/v1/plans", status=422, json=small))["kept"]
        await expect(section).to_be_visible()
        row = seen.page.locator("#refused > li")
        await expect(row).to_contain_text(kept[:16])
        await expect(row).to_contain_text("endpoints_removed")
        await expect(seen.page.locator("#points")).to_contain_text("Guards refused what planner default last published")
        await expect(seen.page.locator("#verdict")).to_contain_text("What planner default last published is refused.")
        await row.locator("summary").click()
        await expect(row).to_contain_text(f"{COUNT // 2} removed, against plan 1")
        await expect(row.locator(".diff > li")).to_have_count(8)
        await expect(row).to_contain_text("enactorctl publish --approve")
        await site.post(f"/api/v1/refused/{kept}/approve", status=201, json={"reason": "closed"})
        await region.applied(2)
        await expect(section).to_be_hidden()


async def test_an_override_is_shown_with_its_endpoint_and_in_the_first_sentence(browser: Browser) -> None:
    """Who, until when, why, and how to end it; it goes when it is ended."""
    async with running() as (region, site, fleet), view(browser, site.url) as seen:
        address = fleet.endpoints[HELD]["targets"][0]["address"]
        order = {"name": HELD, "kind": "drain", "address": address, "lasts_s": 3600, "reason": "that rack is on fire"}
        made = await site.post("/api/v1/overrides", status=201, json=order)
        await region.applied(2)
        await expect(seen.page.locator("#verdict")).to_have_text(
            "Plan 2 is applied in all 2 zones. Operators override 1 endpoint."
        )
        await expect(seen.page.locator("#points")).to_contain_text("that rack is on fire")
        await seen.page.locator("#search").fill(HELD)
        row = seen.page.locator("#endpoints > li").first
        await expect(row).to_contain_text(f"overridden (drain {address})")
        await row.locator("summary").click()
        await expect(row).to_contain_text(f"enactorctl override end {made['override']['id']}")
        await site.post(f"/api/v1/overrides/{made['override']['id']}/end", status=201, json={"reason": "out"})
        await region.applied(3)
        await expect(row).not_to_contain_text("overridden")
        await expect(seen.page.locator("#verdict")).to_have_text("Plan 3 is applied in all 2 zones.")


async def test_complaints_of_a_page_are_heard(browser: Browser) -> None:
    """What the other tests find absent shows where it is there: a console error, and a breach of the policy."""
    async with running() as (_, site, _), view(browser, site.url) as seen:
        await seen.page.evaluate("() => console.error('heard')")
        await seen.page.evaluate(
            "() => document.head.append(Object.assign(document.createElement('style'), {textContent: 'p{}'}))"
        )
        await expect(seen.page.locator("#scope")).to_have_text(SCOPE)
        said = " ".join(seen.complaints)
        assert "heard" in said
        assert "CSP: style-src" in said
        seen.complaints.clear()


async def test_page_follows_a_plan_live(browser: Browser) -> None:
    """A plan that is applied while the page is open shows everywhere on it, without a load."""
    async with running() as (region, site, fleet), view(browser, site.url) as seen:
        page = seen.page
        await seen.title_of("Plan 1 is applied in all 2 zones.")
        await page.evaluate("() => { window.still = true; }")
        fleet.churn(0.3)
        await region.publish(fleet.plan())
        await seen.title_of("Plan 2 is applied in all 2 zones.")
        for step in ("head", "fence", "applied", "verified"):
            await expect(page.locator(f"#step-{step}")).to_have_text("2")
        await expect(page.locator("#plans > li").first.locator(".number")).to_have_text("2")
        await expect(page.locator("#news")).to_contain_text("plan 2 published by planner-1")
        await expect(page.locator("#count-applied")).to_have_text(str(COUNT))
        assert await page.evaluate("() => window.still")


async def test_search_finds_names_and_states(browser: Browser) -> None:
    """Search and the buttons of states narrow what is listed; an endpoint opens with its history."""
    async with running() as (_, site, fleet), view(browser, site.url) as seen:
        page = seen.page
        rows = page.locator("#endpoints > li")
        await expect(rows).to_have_count(20)
        await page.keyboard.press("/")
        await page.keyboard.type("AP-northeast")
        matching = sorted(name for name in fleet.endpoints if "ap-northeast" in name)
        await expect(page.locator("#found")).to_contain_text(f"{len(matching)} endpoints")
        await expect(rows.locator("summary .name")).to_have_text(matching[:20])
        await page.locator("#state-held").click()
        await expect(rows).to_have_count(0)
        await expect(page.locator("#endpoints-note")).to_have_text("None found.")
        await page.locator("#state-all").click()
        await page.locator("#search").fill(HELD)
        matching = sorted(name for name in fleet.endpoints if HELD in name)
        await expect(rows.locator("summary .name")).to_have_text(matching)
        row = rows.filter(has=page.locator("summary .name", has_text=re.compile(rf"^{re.escape(HELD)}$")))
        await row.locator("summary").click()
        addresses = [target["address"] for target in fleet.endpoints[HELD]["targets"]]
        for address in addresses:
            await expect(row.locator("dl")).to_contain_text(address)
        await expect(row.locator(".history")).to_contain_text("plan 1 by planner-1")


async def test_freeze_shows_as_a_banner_until_thawed(browser: Browser) -> None:
    """Who froze the scope, why, and what that means stands above all else, as long as it lasts."""
    async with running() as (_, site, _), view(browser, site.url) as seen:
        page = seen.page
        banner = page.locator("#freeze")
        await expect(banner).to_be_hidden()
        for mode, means in (("all", "Nothing is written"), ("repair-only", "What drifts is still put back")):
            await site.post("/api/v1/freeze", json={"mode": mode, "reason": "<b>fire</b>"})
            await expect(banner).to_contain_text("by alice")
            await expect(banner).to_contain_text("<b>fire</b>")  # as text
            await expect(banner).to_contain_text(means)
            await seen.title_of("Frozen at plan 1.")
        await site.post("/api/v1/thaw")
        await expect(banner).to_be_hidden()
        await seen.title_of("Plan 1 is applied in all 2 zones.")


async def test_what_hides_in_a_text_is_shown(browser: Browser) -> None:
    """A reason that turns the text round, or holds what nobody sees, stands there with its escapes."""
    async with running() as (region, site, _), view(browser, site.url) as seen:
        reason = "all \u202eenif\u2066 \u200b\x1b[2J\u009b1m \U000e0041 Störung 漢字"
        frozen = Freeze(mode="all", reason=reason, author="a\u202en", since=region.time.now())
        await freeze(region.store, region.keys, frozen)
        banner = seen.page.locator("#freeze")
        shown = r"all \u202eenif\u2066 \u200b\u001b[2J\u009b1m \udb40\udc41 Störung 漢字"
        await expect(banner).to_contain_text(shown)
        await expect(banner).to_contain_text(r"a\u202en")
        await seen.title_of("Frozen at plan 1.")


async def test_held_endpoint_shows_the_guards_numbers(browser: Browser) -> None:
    """Which guard held it, and by which numbers; it goes once the plan is good again."""
    async with running() as (region, site, fleet), view(browser, site.url) as seen:
        page = seen.page
        section = page.locator("#held-section")
        await expect(section).to_be_hidden()
        before = list(fleet.endpoints[HELD]["targets"])
        fleet.shrink(HELD, 2)
        await region.publish(fleet.plan())
        held = page.locator("#held > li")
        await expect(held).to_have_count(1)
        await expect(held.locator(".name")).to_have_text(HELD)
        await expect(held.locator(".tag")).to_have_text("velocity")
        await expect(held.locator(".reason b")).to_have_text(["80", "20", "75%", "300 s", "50%"])
        await expect(held).to_contain_text("Serves 8 addresses of plan 1.")
        await seen.title_of("but for 1 endpoint held")
        fleet.endpoints[HELD]["targets"] = before
        await region.publish(fleet.plan())
        await expect(section).to_be_hidden()


async def test_plan_opens_with_what_it_changed(browser: Browser) -> None:
    """The diff names each endpoint that changed, with the addresses that came and went."""
    async with running() as (region, site, fleet), view(browser, site.url) as seen:
        before = {name: {target["address"] for target in each["targets"]} for name, each in fleet.endpoints.items()}
        changed = sorted(fleet.churn(0.1))
        await region.publish(fleet.plan())
        newest = seen.page.locator("#plans > li").first
        await expect(newest.locator(".number")).to_have_text("2")
        await newest.locator("summary").click()
        await expect(newest.locator(".body > p")).to_have_text(
            f"{len(changed)} changed, 0 added, 0 removed, against plan 1."
        )
        await expect(newest.locator(".diff > li > .name")).to_have_text(changed)
        first = newest.locator(".diff > li").first
        after = {target["address"] for target in fleet.endpoints[changed[0]]["targets"]}
        for sign, addresses in (("−", before[changed[0]] - after), ("+", after - before[changed[0]])):
            (address,) = addresses
            await expect(first.locator(f"[data-sign='{sign}']")).to_have_text(f"{sign} {address} ×10")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_fits_a_phone(browser: Browser, scheme: str) -> None:
    """Nothing is wider than a narrow screen, whatever is open; text stands out from what is behind it."""
    async with rollout() as site, view(browser, site.url, width=360, height=740, color_scheme=scheme) as seen:
        page = seen.page
        await site.post("/api/v1/freeze", json={"reason": "w" * 200})
        await expect(page.locator("#freeze")).to_be_visible()
        await page.locator("#plans > li summary").first.click()
        await expect(page.locator("#plans .diff > li")).not_to_have_count(0)
        await page.locator("#endpoints > li summary").first.click()
        await expect(page.locator("#endpoints dl")).to_be_visible()
        assert not await page.evaluate(OVERFLOWS)
        ink, ground = await page.evaluate(
            "() => ['color', 'backgroundColor'].map((key) => getComputedStyle(document.body)[key].match(/\\d+/g)[0])"
        )
        assert abs(int(ink) - int(ground)) > 150
        assert (int(ink) > int(ground)) == (scheme == "dark")


async def test_lost_enactor_is_said_and_found_again(browser: Browser) -> None:
    """Where the enactor goes away, the page says that it shows what was; and follows again when it is back."""
    async with running() as (region, site, fleet):
        member = region.members["enactor-a"]
        async with view(browser, site.url) as seen:
            lost = seen.page.locator("#lost")
            await seen.title_of("Plan 1 is applied")
            await expect(lost).to_be_hidden()
            site.feed.close()
            site.feed.closed = True
            await expect(lost).to_contain_text("No connection to this enactor. What is shown is as of")
            site.feed.closed = False
            await expect(lost).to_be_hidden()
            fleet.churn(0.1)
            await region.publish(fleet.plan())
            await seen.title_of("Plan 2 is applied")
            assert member.enactor.cache.head == 2
            seen.complaints.clear()  # the browser tells of the answers that said no
