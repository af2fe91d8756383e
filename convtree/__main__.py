"""`python -m convtree` is the `convtree` command."""

from convtree._cli import main

main()
