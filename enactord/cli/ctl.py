"""enactorctl: what operators do, and see. Each verb has a file of its own."""

from collections.abc import Mapping

import click

from enactord import __version__
from enactord.cli.program import OnDemand, anywhere, examples

VERBS: Mapping[str, tuple[str, str]] = {
    "adopt": ("adopt", "Enter names into the ledger as they are served now, so that plans may change them."),
    "audit": ("audit", "Show what operators and planners did, newest first."),
    "backup": ("backup", "Write all that is needed to rebuild the scope's store into FILE, as of one moment."),
    "completion": ("completion", "Print the completion script of SHELL for this program."),
    "diff": ("diff", "Show what leads from the ledger to plan GEN, or from the first plan to the second."),
    "doctor": ("doctor", "Look for all that keeps an enactor with this config from its work, and say what to type."),
    "emergency": ("emergency", "Act straight on the DNS server: no daemon and no store is needed."),
    "endpoints": ("endpoints", "List endpoints of the ledger: state, generation, addresses, and why one is held."),
    "fence": ("fence", "Bring the fences of zones down."),
    "freeze": ("freeze", "Stop all writing to the zones (or all but repair) until `enactorctl thaw`."),
    "history": ("history", "Show what the stored plans say of a name, newest first, and what the ledger says."),
    "limits": ("limits", "Show what the guards allow, and change it: the same for all enactors."),
    "planner": ("planner", "Keep a planner from publishing, and let it go on."),
    "planners": ("planner", "List the planners, and which of them are paused, by whom and why."),
    "plans": ("plans", "List the stored plans, newest first."),
    "prune": ("prune", "Delete plans that nothing can need any more; shows why each other one stays."),
    "publish": ("publish", 'Publish a plan ("-": from stdin); prints the generation that it was given.'),
    "restore": ("backup", "Put a backup into the store; what is served does not change by it."),
    "rollback": ("rollback", "Publish plan GEN's content as a new generation: generations never go down."),
    "show": ("plans", "Show one plan: who published it, when and why, and with --full its endpoints."),
    "status": ("status", "Show the newest plan, each zone's fence, endpoints by state, and live enactors."),
    "thaw": ("freeze", "Undo a freeze; none is no error."),
    "token": ("token", "Make, list and revoke the tokens that open the HTTP of enactors, each with a role."),
    "verify": ("verify", "Ask every configured verify server for every name; exit 1 if any is empty or drifted."),
    "watch": ("watch", "Print plans published, fences opened, plans applied, endpoints held, freezes, until Ctrl-C."),
    "zone": ("zone", "Take a zone out of a scope, or over from another installation."),
}
"""Each verb with its module, and the first line of its help: `--help` imports none of them."""


@click.group(
    cls=OnDemand,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        """
enactorctl status
enactorctl publish plan.json --dry-run
enactorctl --config ./enactord.toml endpoints --state held
enactorctl --url https://enactor-a.example.com:8451 --token-file ~/.enactord-token status
"""
    ),
)
@click.version_option(__version__, prog_name="enactorctl")
@anywhere
def main() -> None:
    """Look at and steer one scope: its plans, its endpoints, its zones.

    It works on the store that the config names. With --url it asks an enactor over HTTP, and needs
    neither config nor store; whatever is done is then recorded under the token's name.

    Exit codes: 0 ok; 1 the answer is "no" (a refusal, a failed check, drift); 2 wrong usage
    or config; 3 the store, a server or the enactor cannot be reached.
    """


if __name__ == "__main__":
    main()
