"""Numbers as text for people; a dash stands for a number that was not measured."""

from __future__ import annotations

ABSENT = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction of 1 as a percentage: 0.9765 -> "97.7 %"."""
    return ABSENT if value is None else f"{100 * value:.{digits}f}\u00a0%"


def whole(value: float | None) -> str:
    """Format a count with all its digits: 1889280 -> "1,889,280"; from 10^15 on as a power of ten."""
    if value is None:
        return ABSENT
    if abs(value) < 10**15:
        return f"{value:,.0f}"
    if value < 10**300:
        mantissa, exponent = f"{value:.1e}".split("e")
        return _power(mantissa, int(exponent))
    digits = str(int(value))
    return _power(f"{digits[0]}.{digits[1]}", len(digits) - 1)


def milliseconds(value: float | None) -> str:
    """Format milliseconds with three digits: 0.4127 -> "0.413 ms"."""
    return ABSENT if value is None else f"{value:.3g}\u00a0ms"


def duration(seconds: float | None) -> str:
    """Format seconds as people say a time: "41 s", "3 min 20 s", "1 h 05 min"."""
    if seconds is None:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    total = round(seconds)
    if total < 60:
        return f"{total}\u00a0s"
    if total < 3600:
        return f"{total // 60}\u00a0min {total % 60}\u00a0s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}\u00a0h {minutes % 60:02d}\u00a0min"


def scientific(value: float | None) -> str:
    """Format a small error as a power of ten: 1.234e-6 -> "1.2 x 10^-6"; 0 as "0"."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return _power(mantissa, int(exponent))


def share(value: float) -> str:
    """Format a fraction of 1 as a percentage, however small: 0.25 -> "25 %"."""
    if value >= 0.001:
        return f"{100 * value:.3g}\u00a0%"
    return f"{scientific(100 * value)}\u00a0%"


def shortened(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters; a text that was cut ends with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _power(mantissa: str, exponent: int) -> str:
    return f"{mantissa}\u00a0×\u00a010{str(exponent).translate(_SUPERSCRIPTS)}"
