"""Doors to the machine: disk, locks, processes, time."""
