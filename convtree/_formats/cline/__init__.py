"""Tasks of Cline and of its forks."""
