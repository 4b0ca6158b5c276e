"""Change a target: decide on every file, link, and take everything back if anything fails."""
