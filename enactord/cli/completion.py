"""completion: the script that a shell sources to complete commands, options and files."""

import click
from click.shell_completion import get_completion_class

from enactord.cli.program import examples
from enactord.cli.terminal import write


@click.command(
    epilog=examples(
        """
enactorctl completion bash >/etc/bash_completion.d/enactorctl
source <(enactorctl completion zsh)
enactorctl completion fish >~/.config/fish/completions/enactorctl.fish
"""
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL for this program."""
    root = context.find_root()
    program = root.info_name or "enactorctl"
    found = get_completion_class(shell)
    assert found is not None, "click has all three"
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    write(found(root.command, {}, program, variable).source() + "\n")
