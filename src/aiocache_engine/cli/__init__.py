"""The command line: parse, plan, run, render. One file per command."""
