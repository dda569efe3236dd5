"""The options of the differentiable methods: which go together, and what they are where none was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from onepath.errors import ConfigurationError

if TYPE_CHECKING:
    from onepath.runs.config import RunConfig

# Predictors of whole networks; tables, whose costs add up, are .json.
_NOT_ADDITIVE = ".safetensors"


def check_relaxed_options(config: RunConfig) -> None:
    """Nothing, where the options that were given go together.

    Raises:
        ValueError: they do not; the message says which and what to do.
    """
    if config.max_skips is not None and config.guard != "stop":
        raise ValueError(
            f"max_skips is what the guard lets pass, but guard is {config.guard or 'off'}; give guard stop, or leave "
            "max_skips out"
        )
    if config.guard == "watch" and config.method != "darts":
        raise ValueError(
            f"guard 'watch' notes an eigenvalue that only method darts has, but method is {config.method}; its other "
            "signals are in the report without it"
        )
    if config.cost_loss not in (None, "none"):
        _check_cost(config)


def _check_cost(config: RunConfig) -> None:
    by_reward = config.gates == "reinforce"
    if by_reward != (config.cost_loss == "reward"):
        raise ValueError(
            "cost_loss 'reward' is for gates 'reinforce', and no other is, but got "
            f"{config.cost_loss} with gates {config.gates or 'full'}; change one of them"
        )
    unit = cost_unit(config)
    if unit is None:
        raise ValueError(
            f"cost_loss {config.cost_loss!r} needs a cost to aim at, but no limit came whose costs add up; give "
            "max_macs, or max_latency_ms with a latency table"
        )
    if config.cost_loss == "multiply-log" and unit == "ms" and (config.limit_ms or 0.0) <= 1:
        raise ValueError(
            "cost_loss 'multiply-log' takes logarithms and needs a limit above 1 ms, but got "
            f"{config.limit_ms:g}; use cost_loss add-linear"
        )


def cost_unit(config: RunConfig) -> Literal["ms", "macs"] | None:
    """The unit of the expected cost: that of the first limit whose costs add up over the choices; None without one."""
    if config.limit_ms is not None and not (config.latency_table or "").endswith(_NOT_ADDITIVE):
        return "ms"
    return "macs" if config.max_macs is not None else None


def relaxed_defaults(config: RunConfig, epochs: int) -> dict[str, Any]:
    """What `warmup_epochs` and `cost_loss` are where they were not given; nothing for methods without them.

    Args:
        config: as it was asked for.
        epochs: of the supernet's training, resolved.

    Raises:
        ConfigurationError: the warm-up leaves no epoch for the architecture.
    """
    if config.method not in ("darts", "gdas", "proxyless"):
        return {}
    is_proxyless = config.method == "proxyless"
    num_warmup = config.warmup_epochs
    if num_warmup is None:
        num_warmup = epochs // 3 if is_proxyless else 0
    if num_warmup >= epochs:
        raise ConfigurationError(
            f"warmup_epochs < epochs must hold, but got warmup_epochs={num_warmup}, epochs={epochs}; lower "
            "warmup_epochs"
        )
    cost_loss = config.cost_loss
    if cost_loss is None:
        by_reward = config.gates == "reinforce"
        joins = is_proxyless and cost_unit(config) is not None
        cost_loss = ("reward" if by_reward else "add-linear") if joins else "none"
    return {"warmup_epochs": num_warmup, "cost_loss": cost_loss}
