"""Print the walk over all kinds of stored things as a table: `make stored`."""

import asyncio
import tempfile
from pathlib import Path

from tests.stored.walk import step, steps, table


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [await step(kind, way, Path(folder)) for kind, way in steps()]
    print(table(rows))


if __name__ == "__main__":
    asyncio.run(main())
