"""Cached environments of tools: find one, make one, and tell its commands."""
