"""Stores: many sessions in a folder, a database or memory. `base` explains how to write another one."""
