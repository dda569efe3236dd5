"""Measure the latency of random architectures of a space, and fit a predictor to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onepath.errors import ConfigurationError, DataError
from onepath.latency.checked_files import check_nodes, parse_json, read_text
from onepath.latency.device import Device
from onepath.latency.device_errors import check_count, one_line
from onepath.latency.keys import structure_digest
from onepath.latency.measure import measure
from onepath.latency.predictor.comparison import write_report
from onepath.latency.predictor.features import supernet_features
from onepath.latency.predictor.network_predictor import MIN_PAIRS, NetworkPredictor, fit_predictor
from onepath.latency.predictor.nodes import PairsNode
from onepath.latency.predictor.pairs import PAIRS_FORMAT, LatencyPairs, read_pairs, space_title
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.record import atomic_write_json
from onepath.space import Architecture, SearchSpace

_MOST_LISTED = 100_000
_AT_ONCE = 256
_MAX_DRAWS = 10_000

Progress = Callable[[int, int], None]
"""Called with the number of networks that are measured, and with the number of all networks."""


def profile_networks(
    supernet: Supernet,
    device: Device,
    input_shape: Sequence[int],
    num: int,
    *,
    path: Path | str,
    seed: int = 0,
    space_name: str | None = None,
    progress: Progress | None = None,
) -> NetworkPredictor:
    """Measure `num` random networks, fit the predictors to them, and write the best predictor.

    Four files are written side by side: `path` holds the predictor; `<stem>.pairs.json` holds the measurements, from
    which an interrupted or an enlarged measurement continues; `<stem>.report.json` and `<stem>.report.html` hold the
    comparison of the predictors.

    Args:
        supernet: supernet whose networks are measured; its weights do not matter.
        device: device to measure on.
        input_shape: shape of one example, without the batch.
        num: number of distinct architectures, 20 or more.
        path: file of the predictor, which ends in `.safetensors`.
        seed: seed of the architectures, the split and the training.
        space_name: name of the space, for messages.
        progress: see `Progress`.

    Returns:
        The predictor with the least error on the validation pairs, see `fit_predictor`.

    Raises:
        ConfigurationError: the space has fewer architectures than `num`, `num` is under 20, `path` has another ending,
            or the device cannot be used on this machine.
        DataError: the pairs beside `path` are of another space, device, input shape or seed; or fewer than 20 pairs are
            without noise.
    """
    path = Path(path)
    if num < MIN_PAIRS:
        raise ConfigurationError(
            f"a predictor needs {MIN_PAIRS} networks or more, but got {num}; measure more"
        )
    check_count("the networks of a predictor", num, MIN_PAIRS, _MOST_LISTED)
    if path.suffix != ".safetensors":
        raise ConfigurationError(
            f"the file of a predictor must end in .safetensors, but got {path.name}; rename it"
        )
    pairs = measure_pairs(
        supernet,
        device,
        input_shape,
        num,
        path=path.with_suffix(".pairs.json"),
        seed=seed,
        space_name=space_name,
        progress=progress,
    )
    predictor = fit_predictor(pairs, seed=seed)
    predictor.save(path)
    write_report(predictor.comparison, path.with_suffix(".report.json"))
    return predictor


def measure_pairs(
    supernet: Supernet,
    device: Device,
    input_shape: Sequence[int],
    num: int,
    *,
    path: Path | str,
    seed: int = 0,
    num_together: int = 8,
    space_name: str | None = None,
    progress: Progress | None = None,
) -> LatencyPairs:
    """Measure `num` distinct random architectures, and keep the results in a file.

    The networks are measured in small groups, side by side, together with one reference network that is always the
    same. The file is replaced atomically after each group. A machine that is slower in one minute than in the next is
    slower for the reference network too: `read_pairs` scales each latency by the reference network's, to the machine's
    median state.

    A call with the same file, after an interruption or with a larger `num`, continues the measurement: the seed alone
    determines the order of the architectures, and the networks in the file are not measured again. Only if fewer than
    `MIN_PAIRS` of them were steady, the noisy ones are.

    Args:
        supernet: supernet from which each network is extracted.
        device: device to measure on.
        input_shape: shape of one example, without the batch.
        num: number of distinct architectures, 1 or more.
        path: a `.json` file in an existing directory; it need not exist.
        seed: seed of the architectures.
        num_together: number of networks in a group; an interruption loses at most one group.
        space_name: name of the space, for messages.
        progress: see `Progress`.

    Returns:
        The pairs without the noisy ones; their features are the one-hot encoding and the additive costs of the
        supernet.

    Raises:
        ConfigurationError: the space has fewer architectures than `num`, or the device cannot be used on this machine.
        DataError: the file is of another space, network, device, input shape or seed.
    """
    path, space = Path(path), supernet.space
    shape = tuple(int(size) for size in input_shape)
    header = {
        "format": PAIRS_FORMAT,
        "space": {
            "name": space_title(space, space_name),
            "fingerprint": space.fingerprint,
            "network": structure_digest(supernet.module),
        },
        "device": device.settings(),
        "input_shape": list(shape),
        "seed": seed,
    }
    rows = _stored(path, header)
    architectures = random_architectures(space, num, seed)
    if [row["architecture"] for row in rows[:num]] != [str(found) for found in architectures[: len(rows)]]:
        raise DataError(
            f"{path} must hold the architectures that seed {seed} draws, but it holds others; give another file"
        )
    reference = supernet.extract(architectures[0], inherit=supernet.shares_weights)
    # Too few steady pairs are of no use: the noisy ones are then measured again, here and by a later call.
    steady = sum(not row["is_noisy"] for row in rows)
    left = [place for place, row in enumerate(rows[:num]) if row["is_noisy"] and steady < MIN_PAIRS]
    left += range(len(rows), num)
    for start in range(0, len(left), num_together):
        if progress is not None:
            progress(num - len(left) + start, num)
        places = left[start : start + num_together]
        group = [architectures[place] for place in places]
        models = [supernet.extract(found, inherit=supernet.shares_weights) for found in group]
        *latencies, beside = measure(device, [*models, reference], shape)
        measured = [
            {
                "architecture": str(found),
                "latency_ms": latency.median_ms,
                "iqr_ms": latency.iqr_ms,
                "repeats": latency.repeats,
                "threads": latency.threads,
                "is_noisy": latency.is_noisy or beside.is_noisy,
                "reference_ms": beside.median_ms,
            }
            for found, latency in zip(group, latencies, strict=True)
        ]
        for place, row in zip(places, measured, strict=True):
            rows[place : place + 1] = [row]
        atomic_write_json(path, {**header, "pairs": rows})
    if progress is not None:
        progress(num, num)
    return read_pairs(path, space=space, features=supernet_features(supernet, shape), space_name=space_name)


def random_architectures(space: SearchSpace, num: int, seed: int) -> list[Architecture]:
    """Return the first `num` distinct random architectures of the sequence that a seed determines.

    The sequence does not depend on `num`.

    Raises:
        ConfigurationError: the space does not have that many architectures, or too few of them turn up in 2,560,000
            draws.
    """
    if not 1 <= num <= space.size:
        raise ConfigurationError(
            f"the space must have as many architectures as are measured, 1 or more, but it has {space.size}, not {num};"
            " ask for as many as there are or fewer"
        )
    found: dict[Architecture, None] = {}
    for draws in _draws(space, seed):
        found.update(dict.fromkeys(draws))
        if len(found) >= num:
            return list(found)[:num]
    raise ConfigurationError(
        f"{num} distinct architectures must turn up in {_AT_ONCE * _MAX_DRAWS} draws, but {len(found)} did; ask for"
        " fewer"
    )


def _draws(space: SearchSpace, seed: int) -> Iterator[list[Architecture]]:
    """Yield all architectures of a small space, in a random order, or draws with repetition from a larger space."""
    if space.size <= _MOST_LISTED:
        order = generator(seed, "latency pairs").permutation(space.size)
        yield space.architectures(space.enumerate_matrix()[order])
        return
    for step in range(_MAX_DRAWS):
        yield space.architectures(space.sample(_AT_ONCE, generator(seed, "latency pairs", step)))


def _stored(path: Path, header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pairs that a file already holds; none if there is no file.

    Raises:
        DataError: the file is of another measurement, or it is damaged.
    """
    if not path.exists():
        return []
    text = read_text(path, "a file of measured pairs")
    try:
        data = parse_json(text)
        rows: list[dict[str, Any]] = [row.model_dump() for row in check_nodes(PairsNode, data).pairs]
    except ValueError as error:
        raise DataError(
            f"{path} must hold measured pairs, but it cannot be read ({one_line(error)}); give another file"
        ) from error
    kept = {name: data.get(name) for name in header}
    for name, value in header.items():
        if name == "space":
            is_same = all((kept[name] or {}).get(key) == value[key] for key in ("fingerprint", "network"))
        else:
            is_same = kept[name] == json.loads(json.dumps(value))
        if not is_same:
            raise DataError(
                f"{path} must be continued with the same {name}; it holds {_short(kept[name])}, and now there is"
                f" {_short(value)}; give another file, or delete this one"
            )
    return rows


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "fingerprint" in value:
        return one_line(
            f"{value.get('name')} (choices {value['fingerprint'][:8]}, network {value.get('network')})"
        )
    return one_line(value)
