"""Frozen values that name what the engine works with. No input or output, no clock, no event loop."""
