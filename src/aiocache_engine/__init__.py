"""A Python package cache that can be cleaned while everything is running."""
