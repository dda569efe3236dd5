"""The predictor that wins: choice, bound, file, refusals."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from latency.predictor.pairs_of_a_law import (
    Counting,
    deep_space,
    law_ms,
    law_pairs,
    pairs_of,
    small_supernet,
)
from safetensors.numpy import save_file

from onepath.errors import ConfigurationError, DataError, RunDirectoryError
from onepath.latency.predictor import (
    LatencyPairs,
    Mlp,
    MlpRecipe,
    NetworkPredictor,
    Split,
    bound_95_ms,
    errors,
    fit_predictor,
    scatter_page,
    write_report,
)
from onepath.space import SearchSpace

SHORT = MlpRecipe(num_hidden=1, width=8, num_steps=5, batch=32)


class Tags(HTMLParser):
    """Every tag of a page with its attributes; what stands inside scripts is no tag."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def product_pairs() -> tuple[SearchSpace, LatencyPairs]:
    """A law that no sum of the choices gives."""
    space = deep_space()
    matrix = space.sample(300, np.random.default_rng(3))
    first, second = matrix[:, 0].astype(float), matrix[:, 1].astype(float)
    return space, pairs_of(space, 1 + (first > 0) * (second > 1) * 10.0, matrix)


def test_split_is_hats() -> None:
    split = Split.of_order(np.arange(2000)[::-1])
    assert [len(part) for part in (split.train, split.validation, split.test)] == [1600, 200, 200]
    assert split.train[0] == 1999
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(2000))
    assert [len(part) for part in vars(Split.of_order(np.arange(25))).values()] == [20, 2, 3]


def test_ridge_wins_on_an_additive_law_and_is_an_additive_table() -> None:
    space, pairs = law_pairs()
    predictor = fit_predictor(pairs, recipe=SHORT)
    matrix = space.enumerate_matrix()
    assert predictor.winner == "ridge"
    assert np.allclose(predictor.predict(space, matrix), law_ms(space, matrix), rtol=1e-6)
    assert predictor.table is not None
    assert np.allclose(predictor.table.costs(space, matrix), law_ms(space, matrix), rtol=1e-6)
    drawn = space.sample_within(predictor.table, None, 12.0, 50, np.random.default_rng(0))
    assert law_ms(space, drawn).max() <= 12.0 + 1e-4


def test_trees_win_where_the_law_is_a_product_and_reload_to_the_bit(tmp_path: Path) -> None:
    space, pairs = product_pairs()
    predictor = fit_predictor(pairs, recipe=SHORT)
    models = predictor.comparison["models"]
    assert predictor.winner == "trees"
    assert min(models, key=lambda name: models[name]["validation"]["rmse_ms"]) == "trees"
    assert models["ridge"]["test"]["rmse_ms"] > models["trees"]["test"]["rmse_ms"]
    assert predictor.table is None
    check_reload(predictor, space, tmp_path / "predictor.safetensors")


def test_the_models_never_see_the_held_out_pairs() -> None:
    """Other latencies of the validation and test pairs leave every model as it was."""
    space, pairs = law_pairs()
    split = Split.of_order(np.arange(len(pairs)))
    changed = pairs.latencies_ms.copy()
    changed[split.test] *= 7
    matrix = space.matrix([space.parse(label) for label in pairs.labels])
    first = fit_predictor(pairs, split=split, recipe=SHORT)
    second = fit_predictor(pairs_of(space, changed, matrix), split=split, recipe=SHORT)
    for name in ("mlp", "ridge", "trees"):
        assert (
            first.comparison["test_pairs"]["predicted_ms"][name]
            == second.comparison["test_pairs"]["predicted_ms"][name]
        )
    assert first.winner == second.winner
    assert second.error_ms_95 > first.error_ms_95


def test_ridge_and_perceptron_reload_to_the_bit(tmp_path: Path) -> None:
    space, pairs = law_pairs()
    ridge = fit_predictor(pairs, recipe=SHORT)
    check_reload(ridge, space, tmp_path / "ridge.safetensors")
    model = Mlp.fit(pairs.inputs, pairs.latencies_ms, np.random.default_rng(0), recipe=SHORT)
    perceptron = NetworkPredictor(model, pairs.features, {**ridge.comparison, "winner": "mlp"})
    check_reload(perceptron, space, tmp_path / "mlp.safetensors")


def check_reload(predictor: NetworkPredictor, space: SearchSpace, path: Path) -> None:
    predictor.save(path)
    again = NetworkPredictor.load(path)
    matrix = space.enumerate_matrix()
    assert type(again.model) is type(predictor.model)
    assert np.array_equal(again.predict(space, matrix), predictor.predict(space, matrix))
    assert again.comparison == predictor.comparison
    assert again.device == {"name": "counting", "threads": 1}
    assert again.error_ms_95 == predictor.error_ms_95
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    _, pairs = law_pairs(40)
    torch.manual_seed(1)
    fit_predictor(pairs, recipe=SHORT, seed=3).save(tmp_path / "a")
    torch.manual_seed(2)
    fit_predictor(pairs, recipe=SHORT, seed=3).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_errors_in_closed_form() -> None:
    found = errors(np.array([10.0, 20.0, 40.0]), np.array([11.0, 18.0, 42.0]))
    assert found["rmse_ms"] == pytest.approx(np.sqrt(3))
    assert found["mape_percent"] == pytest.approx(100 * (0.1 + 0.1 + 0.05) / 3)
    assert found["spearman"] == pytest.approx(1)
    assert errors(np.array([1.0, 2.0, 3.0]), np.ones(3))["spearman"] is None


def test_bound_is_the_conformal_one() -> None:
    sizes = np.arange(1.0, 201.0)
    # 0.95 * 201 = 190.95: the 191st smallest error.
    assert bound_95_ms(np.zeros(200), sizes) == 191
    assert bound_95_ms(np.zeros(5), np.array([3.0, 1, 9, 2, 4])) == 9


def test_bound_holds_on_fresh_pairs() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        test, fresh = rng.standard_t(3, 100), rng.standard_t(3, 200)
        held += int((np.abs(fresh) <= bound_95_ms(np.zeros(100), test)).sum())
    assert held / 40_000 >= 0.945


def test_refuses_another_space_device_or_shape() -> None:
    space, pairs = law_pairs()
    predictor = fit_predictor(pairs, recipe=SHORT)
    predictor.check(space, Counting(threads=1), (3, 8, 8))
    other = small_supernet().space
    with pytest.raises(ConfigurationError, match=r"is of law .* now it is the space of 4 choices"):
        predictor.check(other)
    with pytest.raises(ConfigurationError, match="is of law"):
        predictor.predict(other, other.sample(1, np.random.default_rng(0)))
    elsewhere = Counting(threads=1)
    elsewhere.name = "elsewhere"
    with pytest.raises(ConfigurationError, match="its device is counting, and now it is elsewhere"):
        predictor.check(space, elsewhere)
    with pytest.raises(ConfigurationError, match="its threads of counting is 1, and now it is 2"):
        predictor.check(space, Counting(threads=2))
    with pytest.raises(ConfigurationError, match=r"\(3, 8, 8\), and now it is \(3, 9, 9\)"):
        predictor.check(space, input_shape=(3, 9, 9))


def test_too_few_pairs() -> None:
    _, pairs = law_pairs(19)
    with pytest.raises(DataError, match="20 pairs or more; got 19"):
        fit_predictor(pairs)


def test_files_that_are_no_predictor(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no such file"):
        NetworkPredictor.load(tmp_path / "absent")
    (tmp_path / "text").write_text("no")
    save_file({"a": np.zeros(1)}, tmp_path / "tensors")
    for name in ("text", "tensors"):
        with pytest.raises(DataError, match="as onepath wrote it"):
            NetworkPredictor.load(tmp_path / name)


def test_report_is_json_and_one_page_that_loads_nothing(tmp_path: Path) -> None:
    _, pairs = law_pairs()
    predictor = fit_predictor(pairs, recipe=SHORT)
    write_report(predictor.comparison, tmp_path / "law.report.json")
    data = json.loads((tmp_path / "law.report.json").read_text())
    assert data["winner"] == "ridge"
    assert data["num_pairs"] == {"train": 96, "validation": 12, "test": 12, "too_noisy": 0}
    assert set(data["models"]) == {"mlp", "ridge", "trees"}
    page = (tmp_path / "law.report.html").read_text()
    assert "Ridge regression predicts law on counting" in page
    tags = Tags()
    tags.feed(page)
    assert {"html", "script", "div"} <= {tag for tag, _ in tags.found}
    assert not any(name in ("src", "href") for _, attributes in tags.found for name in attributes)
    assert page == scatter_page(predictor.comparison)
