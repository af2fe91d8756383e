"""Where lines are kept: the `Log` protocol and those who follow it."""
