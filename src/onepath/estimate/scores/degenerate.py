"""The error for degenerate networks, about which a score can say nothing."""


class DegenerateNetworkError(Exception):
    """A score can say nothing about this network; the text says why. `scores` catches it and returns minus infinity."""
