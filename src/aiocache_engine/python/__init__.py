"""Interpreters, their tags and schemes, and the environments made for them."""
