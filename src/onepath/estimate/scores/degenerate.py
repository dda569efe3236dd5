"""Networks about which a score can tell nothing."""


class DegenerateNetworkError(Exception):
    """A score cannot tell anything about this network; the text says why. Caught where scores are handed out."""
