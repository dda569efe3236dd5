"""Numbers as the page writes them."""

from __future__ import annotations

import pytest

from onepath.report import formats


def test_whole_numbers_of_any_size() -> None:
    assert formats.whole(4**20) == "1,099,511,627,776"
    assert formats.whole(4**40) == "1.2\u00a0×\u00a010²⁴"
    assert formats.whole(10**400) == "1.0\u00a0×\u00a010⁴⁰⁰"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (41.3, "41 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u00a0", " ") == text


def test_percentages_and_errors() -> None:
    assert formats.percent(0.97654) == "97.7\u00a0%"
    assert formats.scientific(1.94e-6) == "1.9\u00a0×\u00a010⁻⁶"
    assert formats.scientific(0.0) == "0"
    assert formats.share(0.25) == "25\u00a0%"
    assert formats.share(9.1e-10) == "9.1\u00a0×\u00a010⁻⁸\u00a0%"
    assert formats.milliseconds(0.41271) == "0.413\u00a0ms"
    assert formats.shortened("abcdef", 4) == "abc…"
