"""``python -m streams``: the command line, for processes that start others."""

from .cli import main

main()
