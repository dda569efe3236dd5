"""A predictor that came from somewhere: what is amiss in its header or its arrays is one line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency.hostile import WRONG, Place, found_at, kind_of, places, plain, replaced, without
from latency.predictor.pairs_of_a_law import Counting, deep_space, law_pairs, pairs_of, small_supernet
from safetensors.numpy import save_file

from onepath.errors import DataError, UserError
from onepath.latency.limit import check_predictor, known_network
from onepath.latency.predictor import (
    Mlp,
    MlpRecipe,
    NetworkPredictor,
    Trees,
    fit_predictor,
    measure_pairs,
    read_pairs,
)
from onepath.latency.predictor.nodes import FORMAT

SHORT = MlpRecipe(num_hidden=1, width=4, num_steps=2, batch=32)
SPACE, PAIRS = law_pairs()
FITTED = fit_predictor(PAIRS, recipe=SHORT)
HEADER = plain(
    {
        "format": FORMAT,
        "features": FITTED.features.to_data(),
        "comparison": {**FITTED.comparison, "input_shape": [1, 8, 8]},
    }
)
# Nothing reads these but who looks at the report.
FREE = {"seed", "num_pairs", "winner_has", "models"}
MAY_BE_NULL = {"input_shape", "network", "test_pairs", "threads", "version", "processor"}


def written(path: Path, arrays: dict[str, Any], header: Any) -> Path:
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        path,
        {"onepath": json.dumps(header)},
    )
    return path


def used(path: Path) -> None:
    predictor = NetworkPredictor.load(path)
    predictor.check(SPACE)
    known_network(predictor)
    float(predictor.error_ms_95)
    with contextlib.suppress(UserError):
        assert np.isfinite(predictor.predict(SPACE, SPACE.enumerate_matrix())).all()
    assert (
        predictor.table is None or np.isfinite(predictor.table.costs(SPACE, SPACE.enumerate_matrix())).all()
    )


def test_the_predictor_of_these_tests_is_in_order(tmp_path: Path) -> None:
    assert FITTED.winner == "ridge"
    used(written(tmp_path / "good.safetensors", FITTED.model.tensors(), HEADER))


@pytest.mark.parametrize("at", list(places(HEADER)), ids=lambda at: ".".join(map(str, at))[:60])
def test_every_node_of_the_header_is_checked(at: Place, tmp_path: Path) -> None:
    arrays, path = FITTED.model.tensors(), tmp_path / "p.safetensors"
    is_free = len(at) > 1 and (at[1] in FREE or at[:2] == ("comparison", "features"))
    for name, value in WRONG.items():
        refusal = None
        try:
            used(written(path, arrays, replaced(HEADER, at, value)))
        except UserError as error:
            refusal = str(error)
        if refusal is None:
            is_null = value is None and at[-1] in MAY_BE_NULL
            is_text = isinstance(value, str) and at[-1] == "network"
            assert is_free or is_null or is_text or kind_of(value) == kind_of(found_at(HEADER, at)), name
        else:
            assert refusal.isprintable(), name
            assert len(refusal) < 700, name
    if at:
        with contextlib.suppress(UserError):
            used(written(path, arrays, without(HEADER, at)))


def fitted(winner: str) -> NetworkPredictor:
    """A predictor of each kind, over the same features."""
    if winner == "ridge":
        return FITTED
    rng = np.random.default_rng(0)
    model = (
        Trees.fit(PAIRS.inputs, PAIRS.latencies_ms, rng)
        if winner == "trees"
        else Mlp.fit(PAIRS.inputs, PAIRS.latencies_ms, rng, recipe=SHORT)
    )
    return NetworkPredictor(model, PAIRS.features, {**FITTED.comparison, "winner": winner})


@pytest.fixture(scope="module", params=["ridge", "trees", "mlp"])
def predictor(request: pytest.FixtureRequest) -> NetworkPredictor:
    return fitted(request.param)


def test_every_array_of_every_model_is_checked(predictor: NetworkPredictor, tmp_path: Path) -> None:
    """What is loaded predicts finite latencies; what no prediction can use is refused."""
    path, header = tmp_path / "p.safetensors", plain({**HEADER, "comparison": predictor.comparison})
    good = {name: np.asarray(array) for name, array in predictor.model.tensors().items()}
    used(written(path, good, header))

    def refusal(arrays: dict[str, Any]) -> str | None:
        try:
            used(written(path, arrays, header))
        except UserError as error:
            return str(error)
        return None

    for name, array in good.items():
        flat = array.reshape(-1)
        for changed in (
            array.astype(np.float16),
            array.astype(np.int64),
            array.astype(np.uint8),
            array[None],
        ):
            refusal({**good, name: changed})
        for changed in (np.concatenate([flat] * 2), flat[:-1], flat[:0], np.zeros((0, 3))):
            found = refusal({**good, name: changed})
            assert found or name in ("roots", "products") or array.size == 1, (name, changed.shape)
        for value in (np.nan, np.inf, -np.inf) if array.dtype.kind == "f" else (-1, 10**9):
            if array.size:
                changed = array.copy()
                changed.reshape(-1)[-1] = value
                assert refusal({**good, name: changed}), (name, value)
        refusal({**good, name: array * 1e25 if array.dtype.kind == "f" else array})
        assert refusal({key: value for key, value in good.items() if key != name}), name


@pytest.mark.parametrize("value", [-1000.0, 1e20])
def test_an_intercept_that_was_changed_shows_in_the_predictions(tmp_path: Path, value: float) -> None:
    """A regression's weights may be of any sign; but the file says what it predicted."""
    supernet = small_supernet()
    path = tmp_path / "p.safetensors"
    space = supernet.space
    matrix = space.sample(60, np.random.default_rng(0))
    found = fit_predictor(pairs_of(space, 1.0 + matrix.sum(axis=1), matrix), recipe=SHORT)
    found.check_network(supernet)
    arrays = found.model.tensors()
    name = next(name for name in ("intercept_ms", "start_ms", "latency_norm_ms") if name in arrays)
    header = {"format": FORMAT, "features": found.features.to_data(), "comparison": found.comparison}
    odd = np.array([abs(value) if name == "latency_norm_ms" else value])
    changed = NetworkPredictor.load(written(path, {**arrays, name: odd}, plain(header)))
    with pytest.raises(DataError, match="must predict what it predicted when it was written"):
        check_predictor(changed, supernet, None, (3, 8, 8))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), []),
        (("space",), []),
        (("space", "fingerprint"), 1),
        (("pairs",), {}),
        (("pairs", 0), []),
        (("pairs", 0, "architecture"), 1),
        (("pairs", 0, "latency_ms"), -1.0),
        (("pairs", 0, "latency_ms"), float("nan")),
        (("pairs", 0, "latency_ms"), 1e308),
        (("pairs", 0, "reference_ms"), 0),
        (("pairs", 0, "reference_ms"), None),
        (("pairs", 0, "is_noisy"), "no"),
        (("device",), []),
        (("device", "name"), "\x1b[31m"),
        (("input_shape",), "x"),
        (("format",), None),
    ],
)
def test_measured_pairs_that_are_continued_are_checked(tmp_path: Path, at: Place, value: Any) -> None:
    supernet = small_supernet()
    path = tmp_path / "pairs.json"
    device = Counting()
    measure_pairs(supernet, device, (3, 8, 8), 2, path=path)
    path.write_text(json.dumps(replaced(json.loads(path.read_text()), at, value)))
    with pytest.raises(UserError) as caught:
        measure_pairs(supernet, device, (3, 8, 8), 3, path=path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '[{"architecture": "0", "latency_ms": 1e999}]',
        '[{"architecture": "0", "latency_ms": -1}]',
        '[{"architecture": "0", "latency_ms": "x"}]',
        f'[{{"architecture": "0", "latency_ms": {"9" * 400}}}]',
        '[{"architecture": null, "latency_ms": 1}]',
        '{"a": 1, "a": 2}',
        "[1, 2]",
        "[" * 100_000,
        '{"format": "onepath latency pairs, 1", "pairs": [], "device": [1]}',
        '{"format": "onepath latency pairs, 1", "pairs": [{"architecture": "0"}], "space": [1], "device": "x"}',
        '{"format": "onepath latency pairs, 1", "pairs": 3}',
    ],
)
def test_pairs_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_pairs(path, space=deep_space(), device="x" if "device" not in text else None)
    assert str(caught.value).isprintable()
