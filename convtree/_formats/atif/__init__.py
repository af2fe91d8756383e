"""Trajectories of agents in the interchange format ATIF: read and written."""
