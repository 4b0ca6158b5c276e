"""Finding versions that suit everybody: the solver, what it may choose from, and where that is read or fetched."""
