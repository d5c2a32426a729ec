"""enactorctl: what operators do, and see. Each verb has a file of its own."""

import click

from enactord import __version__
from enactord.cli.adopt import adopt
from enactord.cli.backup import backup, restore
from enactord.cli.completion import completion
from enactord.cli.diff import diff
from enactord.cli.emergency import emergency
from enactord.cli.endpoints import endpoints
from enactord.cli.fence import fence
from enactord.cli.freeze import freeze, thaw
from enactord.cli.history import history
from enactord.cli.plans import plans, show
from enactord.cli.program import Program, common, examples
from enactord.cli.prune import prune
from enactord.cli.publish import publish
from enactord.cli.rollback import rollback
from enactord.cli.status import status
from enactord.cli.verify import verify
from enactord.cli.watch import watch
from enactord.cli.zone import zone


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        """
enactorctl status
enactorctl publish plan.json --dry-run
enactorctl --config ./enactord.toml endpoints --state held
"""
    ),
)
@click.version_option(__version__, prog_name="enactorctl")
@common
def main() -> None:
    """Look at and steer one scope: its plans, its endpoints, its zones.

    Exit codes: 0 ok; 1 the answer is "no" (a refusal, a failed check, drift); 2 wrong usage
    or config; 3 the store or a server cannot be reached.
    """


for verb in (
    status, plans, show, endpoints, diff, watch, publish, rollback, freeze, thaw, verify, adopt, prune, history,
    emergency, fence, zone, backup, restore, completion,
):  # fmt: skip
    main.add_command(verb)


if __name__ == "__main__":
    main()
