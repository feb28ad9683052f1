"""Print shell code that completes commands, options and files."""

from __future__ import annotations

import argparse

NEEDS = "client"
EPILOG = """examples:
  source <(MARSERVE completion bash)     in ~/.bashrc
  source <(MARSERVE completion zsh)      in ~/.zshrc, after compinit
  MARSERVE completion fish | source      in ~/.config/fish/config.fish
  where MARSERVE is marserve or, of a clone, /path/to/scripts/marserve"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["marserve"], shell=options.shell))
    return 0
