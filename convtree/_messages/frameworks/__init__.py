"""Readers for the messages of frameworks: a module each, and the table that tells them apart."""
