"""Runs the command `rqrec` as `python -m rqrec`, as torchrun needs it."""

from rqrec.cli import main

main()
