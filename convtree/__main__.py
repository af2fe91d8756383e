"""`python -m convtree` is the `convtree` command."""

from convtree.cli import main

main()
