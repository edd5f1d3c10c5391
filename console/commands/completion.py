"""auxilio completion bash|zsh|fish"""

from __future__ import annotations

import shlex
import sys

import click

from console.home import Home
from console.invocation import own_program

SCRIPTS = {
    "bash": """\
# Auxilio's completion for bash. Load it from ~/.bashrc:  source <(auxilio completion bash)
_auxilio() {
    # Candidates are letters, digits, dots and hyphens alone, and nothing is evaluated.
    mapfile -t COMPREPLY < <(PROGRAM completion --words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _auxilio auxilio
""",
    "zsh": """\
#compdef auxilio
# Auxilio's completion for zsh. Load it from ~/.zshrc, after compinit:  source <(auxilio completion zsh)
_auxilio() {
    local -a found
    found=(${(f)"$(PROGRAM completion --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
compdef _auxilio auxilio
""",
    "fish": """\
# Auxilio's completion for fish. Keep it:  auxilio completion fish > ~/.config/fish/completions/auxilio.fish
function __auxilio_words
    set -l words (commandline -opc) (commandline -ct)
    PROGRAM completion --words -- $words[2..-1] 2>/dev/null
end
complete -c auxilio -a '(__auxilio_words)'
""",
}


@click.command()
@click.argument("shell", type=click.Choice(list(SCRIPTS)), required=False)
@click.option("--words", is_flag=True, help="What such a script calls: candidates for the last of the words after --.")
@click.pass_obj
def completion(home: Home, shell: str | None, words: bool) -> None:
    """Print a script by which a shell completes commands, options, and the devices that this console remembers.

    Completing asks no relay: a device's name is offered once it was used or shown here.

    \b
    Example:
      source <(auxilio completion bash)
    """
    # `--words` never comes here: main.py answers it before click is imported.
    if shell is None:
        raise click.UsageError("which shell: bash, zsh or fish?")
    sys.stdout.write(SCRIPTS[shell].replace("PROGRAM", shlex.join(own_program())))
