"""Giving space back while everything runs: what is there, what goes, the going itself, and what is told of it."""
