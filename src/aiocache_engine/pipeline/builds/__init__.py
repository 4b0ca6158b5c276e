"""Wheels from source: sdists unpacked, backends called, what they built published."""
