"""The published tables, and the two meanings of `expand`."""

from __future__ import annotations

from pathlib import Path

import pytest

from onepath.errors import ConfigurationError, DataError, RunDirectoryError
from onepath.latency import PublishedTable

PIXEL = Path(__file__).parents[3] / "shared" / "data" / "proxylessnas_pixel_latency.yaml"

RATIOS = """
Conv-input:224x224x3-output:112x112x32: {count: 9, mean: 4.4, var: 0.16}
expanded_conv-input:56x56x24-output:56x56x24-expand:3-kernel:5-stride:1-idskip:1: {count: 8, mean: 2.5, var: 0.04}
expanded_conv-input:56x56x24-output:28x28x40-expand:6-kernel:3-stride:2-idskip:0: {count: 8, mean: 3.5, var: 0.04}
"""
CHANNELS = """
expanded_conv-input:56x56x24-output:56x56x24-expand:72-kernel:5-stride:1-idskip:1-se:0-hs:0: {mean: 2.5}
expanded_conv-input:56x56x24-output:56x56x24-expand:72-kernel:5-stride:1-idskip:1-se:1-hs:0: {mean: 2.9, std: 0.3}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    return path


def test_the_same_block_is_found_under_both_meanings(tmp_path: Path) -> None:
    block = {"middle_channels": 72, "kernel_size": 5, "stride": 1, "has_skip": True}
    ratios = PublishedTable.load(written(tmp_path, RATIOS))
    assert ratios.expand == "ratio"
    assert ratios.block((24, 56, 56), (24, 56, 56), **block) == pytest.approx((2.5, 0.2, 8, False))
    channels = PublishedTable.load(written(tmp_path, CHANNELS))
    assert channels.expand == "channels"
    found = channels.block((24, 56, 56), (24, 56, 56), **block, has_se=False, has_hard_swish=False)
    assert found == (2.5, 0.0, 1, False)
    assert channels.block((24, 56, 56), (24, 56, 56), **block, has_se=True, has_hard_swish=False).std == 0.3


def test_the_wrong_meaning_does_not_find_the_block(tmp_path: Path) -> None:
    wrong = PublishedTable.load(written(tmp_path, RATIOS), expand="channels")
    with pytest.raises(
        ConfigurationError, match="expand:72-kernel:5-stride:1-idskip:1 has none; the nearest"
    ):
        wrong.block((24, 56, 56), (24, 56, 56), middle_channels=72, kernel_size=5, stride=1, has_skip=True)


def test_a_missing_block_names_the_nearest(tmp_path: Path) -> None:
    table = PublishedTable.load(written(tmp_path, RATIOS))
    with pytest.raises(ConfigurationError, match=r"expand:6-kernel:5.* the nearest are .*expand:3-kernel:5"):
        table.block((24, 56, 56), (24, 56, 56), middle_channels=144, kernel_size=5, stride=1, has_skip=True)
    with pytest.raises(ConfigurationError, match="must be a multiple of the input's"):
        table.block((24, 56, 56), (24, 56, 56), middle_channels=70, kernel_size=5, stride=1, has_skip=True)


def test_a_table_that_leaves_the_meaning_open_is_an_error(tmp_path: Path) -> None:
    text = "expanded_conv-input:56x56x24-output:56x56x24-expand:20-kernel:5-stride:1-idskip:1: {mean: 2.5}"
    with pytest.raises(ConfigurationError, match="ratio or a number of channels"):
        PublishedTable.load(written(tmp_path, text))
    assert PublishedTable.load(written(tmp_path, text), expand="channels").expand == "channels"


@pytest.mark.parametrize(
    "text", ["- 1\n- 2", "a: {count: 3}", "a: b: c", "a: !!python/object/apply:os.getcwd []"]
)
def test_what_is_no_table_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="must be a latency table in YAML"):
        PublishedTable.load(written(tmp_path, text), expand="ratio")


def test_an_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no such file"):
        PublishedTable.load(tmp_path / "none.yaml")


@pytest.mark.skipif(not PIXEL.is_file(), reason="the published table is not beside the project")
def test_the_published_table_of_the_pixel() -> None:
    table = PublishedTable.load(PIXEL)
    assert table.expand == "ratio"
    assert len(table.entries) == 72
    assert table.layer("Conv", (3, 224, 224), (32, 112, 112)).mean == pytest.approx(4.397037934668071)
    # A larger kernel and a larger ratio take longer in every shape that has them.
    for ratio in (3, 6):
        means = [
            table.block(
                (80, 14, 14),
                (80, 14, 14),
                middle_channels=80 * ratio,
                kernel_size=size,
                stride=1,
                has_skip=True,
            ).mean
            for size in (3, 5, 7)
        ]
        assert means == sorted(means)
