"""python -m bench NAME: run a benchmark."""

import argparse
import asyncio

from bench import apply


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="example: python -m bench apply --server knot"
    )
    verbs = parser.add_subparsers(required=True)
    apply.add_arguments(verbs.add_parser("apply", help="publish to seen served, beside the bare updates"))
    arguments = parser.parse_args()
    asyncio.run(arguments.run(arguments))


if __name__ == "__main__":
    main()
