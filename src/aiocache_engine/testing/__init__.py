"""Builders, a real index server on loopback, and checkers for tests of programs that embed the engine."""
