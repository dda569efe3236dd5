"""Processes that work for a run, and what is said to them."""
