"""What is asked of runs and spaces beside: scores of a space, and how far a ranking can be trusted."""
