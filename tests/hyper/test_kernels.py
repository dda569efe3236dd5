"""Weights from codes: tiles that are cut or repeated, factors of low rank, and their first variance."""

from __future__ import annotations

import pytest
import torch

from onepath.hyper.kernels import KernelMaker, LowRankKernels, TiledKernels, fan_in_scale, fitted, sides_of

SHAPES = [(6, 4, 3, 3), (12, 1, 5, 5), (1, 9, 1, 1), (7, 5), (3, 4, 3), (2, 3, 1, 5)]


def makers(shapes: list[tuple[int, ...]], width: int = 32) -> dict[str, KernelMaker]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "low-rank": LowRankKernels(width, shapes, 8, 32),
            "tiled": TiledKernels(width, shapes, 4, 32),
        }


@pytest.mark.parametrize(
    ("have", "wanted"),
    [
        ((4, 4, 3, 3), (2, 3, 3, 3)),
        ((2, 2, 3, 3), (5, 3, 3, 3)),
        ((2, 3), (7, 7)),
        ((2, 2, 5, 5), (4, 4, 1, 3)),
    ],
)
def test_a_tile_is_cut_or_repeated(have: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    tile = torch.randn(have)
    found = fitted(tile, wanted)
    assert found.shape == wanted
    first = [(ours - theirs) // 2 for ours, theirs in zip(have[2:], wanted[2:], strict=True)]
    for place in torch.cartesian_prod(*(torch.arange(side) for side in wanted)).tolist():
        rows = [at % side for at, side in zip(place[:2], have[:2], strict=True)]
        taps = [at + shift for at, shift in zip(place[2:], first, strict=True)]
        assert found[tuple(place)] == tile[(*rows, *taps)]


@pytest.mark.parametrize("kind", ["low-rank", "tiled"])
def test_every_weight_has_its_shape_and_a_gradient(kind: str) -> None:
    maker = makers(SHAPES)[kind]
    codes = torch.randn(len(SHAPES), 32, requires_grad=True)
    found = maker(codes, SHAPES)
    assert [tuple(weight.shape) for weight in found] == SHAPES
    sum(weight.square().sum() for weight in found).backward()
    assert bool((codes.grad.abs().sum(1) > 0).all())
    assert all(parameter.grad is not None for parameter in maker.parameters())


@pytest.mark.parametrize("kind", ["low-rank", "tiled"])
def test_a_weight_depends_on_its_own_code_alone(kind: str) -> None:
    maker, codes = makers(SHAPES)[kind], torch.randn(len(SHAPES), 32)
    both = maker(codes, SHAPES)
    (alone,) = maker(codes[3:4], SHAPES[3:4])
    assert torch.allclose(alone, both[3], atol=1e-6)
    other = maker(codes + 1, SHAPES)
    assert all(not torch.allclose(mine, his) for mine, his in zip(both, other, strict=True))


@pytest.mark.parametrize("kind", ["low-rank", "tiled"])
@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (48, 1, 5, 5), (64, 64, 1, 1)])
def test_the_first_variance_is_two_over_the_fan_in(kind: str, shape: tuple[int, ...]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        maker = (
            LowRankKernels(64, [shape], 16, 64) if kind == "low-rank" else TiledKernels(64, [shape], 64, 64)
        )
        weights = torch.stack(maker(torch.randn(20, 64), [shape] * 20))
    fan_in = shape[1] * shape[2] * shape[3]
    assert fan_in_scale(shape) == pytest.approx((2 / fan_in) ** 0.5)
    assert 0.6 < float(weights.detach().std()) / fan_in_scale(shape) < 1.6
    assert abs(float(weights.detach().mean())) < 0.2 * fan_in_scale(shape)


def test_the_rank_is_the_one_asked_for() -> None:
    maker = LowRankKernels(32, [(20, 20)], 3, 32)
    (weight,) = maker(torch.randn(1, 32), [(20, 20)])
    assert int(torch.linalg.matrix_rank(weight.detach().double(), rtol=1e-4)) == 3


def test_a_smaller_kernel_is_the_centre_of_a_larger_one() -> None:
    shapes = [(4, 4, 5, 5), (4, 4, 3, 3)]
    codes = torch.randn(1, 32).repeat(2, 1)
    for maker in makers(shapes).values():
        large, small = maker(codes, shapes)
        scale = fan_in_scale(shapes[1]) / fan_in_scale(shapes[0])
        assert torch.allclose(small, large[..., 1:4, 1:4] * scale, atol=1e-5)


def test_sides_of_every_kind_of_layer() -> None:
    assert [sides_of(shape) for shape in SHAPES] == [(3, 3), (5, 5), (1, 1), (1, 1), (1, 3), (1, 5)]
