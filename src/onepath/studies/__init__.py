"""Studies of runs and spaces: scores of the architectures of a space, and how far a ranking can be trusted."""
