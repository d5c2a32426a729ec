"""Real faults on a real installation: `python -m tests.chaos --seconds 600 --seed 7 [--report FILE.json]`.

Exit code 1 where an invariant did not hold; the directory with all logs is kept then.
"""

import argparse
import sys
from pathlib import Path

from tests.chaos.run import main
from tests.chaos.world import Options

parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
parser.add_argument("--seconds", type=float, default=Options.seconds, help="how long faults are made")
parser.add_argument("--seed", type=int, default=Options.seed, help="which faults, when, and on what")
parser.add_argument("--names", type=int, default=Options.names_a_zone, help="endpoints in each of the two zones")
parser.add_argument("--interval", type=float, default=Options.interval_s, help="seconds between plans")
parser.add_argument("--unfenced", action="store_true", help="let enactors ignore the fence: must fail")
parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there, as JSON")
given = parser.parse_args()
options = Options(
    seconds=given.seconds,
    seed=given.seed,
    names_a_zone=given.names,
    interval_s=given.interval,
    unfenced=given.unfenced,
)
sys.exit(main(options, given.report))
