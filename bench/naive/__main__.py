"""Run the naive enactor against a server that takes RFC 2136 updates and lets its key transfer the zone."""

import argparse
import asyncio
import base64
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.naive.dns import DnsZone
from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.files import FolderPlans, read_plan_file
from bench.naive.memory import GivenPlans
from bench.naive.ports import NaiveError, Plans
from enactord.clock import SystemClock
from enactord.core.errors import InvalidName
from enactord.core.names import parse_name
from enactord.wire.tsig import ALGORITHMS, TsigKey

EXAMPLE = """example:
  python -m bench.naive --server 127.0.0.1:5353 --zone example.test --key-name enactor --secret-file key.txt \\
      apply plan-1.json plan-2.json
  python -m bench.naive --server … --holder a run plans/      # and in another terminal --holder b
  python -m bench.naive --server … rollback www.example.test
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.naive",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--zone", required=True)
    parser.add_argument("--key-name", required=True, help="may update A, AAAA, CNAME and TXT")
    parser.add_argument("--key-algorithm", choices=ALGORITHMS, default="hmac-sha256")
    parser.add_argument("--secret-file", required=True, type=Path, help="holds the key's secret in base64")
    parser.add_argument("--transfer-key-name", help="may transfer the zone [default: the same key]")
    parser.add_argument("--transfer-secret-file", type=Path)
    parser.add_argument("--holder", default="naive", help="this enactor's name in locks [default: naive]")
    parser.add_argument("--keep-plans", type=int, default=5, help="trees that clean-up leaves [default: 5]")
    parser.add_argument("--poll", type=float, default=1.0, metavar="SECONDS", help="[default: 1]")
    parser.add_argument("--no-lock", action="store_true", help="write without the lock")
    parser.add_argument("--by-value", action="store_true", help="records at the live name, no trees")
    parser.add_argument(
        "--no-rollback-requirement", action="store_true", help="the rollback alias may point at nothing"
    )
    parser.add_argument("--no-clean-up", action="store_true", help="leave all trees")
    parser.add_argument("--check-each", action="store_true", help="check the generation before each endpoint")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("apply", help="apply plans from files, one after the other")
    verb.add_argument("files", nargs="+", type=Path, metavar="PLAN.json")
    verb = verbs.add_parser("run", help="apply the newest plan of a folder, until interrupted")
    verb.add_argument("folder", type=Path)
    verb = verbs.add_parser("rollback", help="flip names back to the tree that was active before")
    verb.add_argument("names", nargs="+", metavar="NAME")
    return parser


def _say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def _key(name: str, algorithm: str, secret_file: Path) -> TsigKey:
    secret = base64.b64decode(secret_file.read_text(encoding="ascii"), validate=False)
    return TsigKey(name=name, algorithm=algorithm, secret=secret)


@contextlib.asynccontextmanager
async def _enactor(arguments: argparse.Namespace, plans: Plans) -> AsyncIterator[NaiveEnactor]:
    host, _, port = arguments.server.rpartition(":")
    key = _key(arguments.key_name, arguments.key_algorithm, arguments.secret_file)
    transfer_key = key
    if arguments.transfer_key_name:
        secret_file = arguments.transfer_secret_file or arguments.secret_file
        transfer_key = _key(arguments.transfer_key_name, arguments.key_algorithm, secret_file)
    zone = DnsZone(parse_name(arguments.zone), host=host, port=int(port), key=key, transfer_key=transfer_key)
    settings = Settings(
        holder=arguments.holder,
        keep_plans=arguments.keep_plans,
        poll_s=arguments.poll,
        lock=not arguments.no_lock,
        alias=not arguments.by_value,
        rollback_required=not arguments.no_rollback_requirement,
        clean_up=not arguments.no_clean_up,
        check_each=arguments.check_each,
    )
    try:
        yield NaiveEnactor(settings, zone, plans, clock=SystemClock(), rng=random.Random(), say=_say)
    finally:
        await zone.close()


async def _main(arguments: argparse.Namespace) -> None:
    match arguments.verb:
        case "apply":
            async with _enactor(arguments, GivenPlans()) as enactor:
                for plan in [read_plan_file(path) for path in arguments.files]:
                    if not await enactor.apply(plan):
                        _say(f"plan {plan.generation} is not newer than {await enactor.last_applied()}")
        case "run":
            async with _enactor(arguments, FolderPlans(arguments.folder)) as enactor:
                await enactor.run()
        case "rollback":
            async with _enactor(arguments, GivenPlans()) as enactor:
                await enactor.roll_back(parse_name(name) for name in arguments.names)


def main() -> None:
    arguments = _parser().parse_args()
    try:
        asyncio.run(_main(arguments))
    except KeyboardInterrupt:
        pass
    except (NaiveError, InvalidName, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
