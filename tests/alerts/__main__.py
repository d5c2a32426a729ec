"""Make each fault on a real scope, and write docs/alerts.md.

python -m tests.alerts                     all of them; about half an hour
python -m tests.alerts --only "primary"    those with this in their names; writes nothing
"""

import argparse
import sys
import time

from tests.alerts.faults import TRIALS
from tests.alerts.page import PAGE, TOLD_MAX, page
from tests.alerts.run import NOTHING, Heard, hear_all


def main() -> int:
    """Return 1 where a fault is not named by what is told first, or too much is told of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.alerts")
    parser.add_argument("--only", default="", help="faults with this text in their names; the page is not written")
    parser.add_argument("--at-once", type=int, default=3, help="scopes side by side, each of ten processes (3)")
    options = parser.parse_args()
    faults = [fault for fault in (NOTHING, *TRIALS) if options.only in fault and (fault or not options.only)]
    if not faults:
        parser.error(f"no fault has {options.only!r} in its name")
    began = time.monotonic()
    heard: dict[str, Heard] = {}
    for each in hear_all(faults, at_once=options.at_once):
        heard[each.fault] = each
        sys.stdout.write(f"{time.monotonic() - began:5.0f} s  {len(heard)} of {len(faults)}  {_line(each)}\n")
        sys.stdout.flush()
    if not options.only:
        PAGE.write_text(page(heard), encoding="utf-8")
    return 0 if all(_well(each) for each in heard.values()) else 1


def _well(heard: Heard) -> bool:
    if heard.fault == NOTHING:
        return not heard.told
    return heard.names_the_cause and len(heard.alerts) <= TOLD_MAX


def _line(heard: Heard) -> str:
    told = "; ".join(f"{each.at / 60:.1f} min {each.name}: {each.summary}" for each in heard.told) or "nothing"
    return f"{'ok ' if _well(heard) else 'NOT'} {heard.fault or 'no fault'}: {told} | {heard.said[:200]}"


if __name__ == "__main__":
    sys.exit(main())
