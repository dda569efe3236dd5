"""What a run knows of latency: where it is measured, what predicts it, and what was measured, each network once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, InfeasibleError
from onepath.randomness import generator
from onepath.record import StageRow
from onepath.record.atomic import damaged_error
from onepath.record.directory import LATENCY_PREDICTOR, LATENCY_TABLE, TRIALS

if TYPE_CHECKING:
    from onepath.latency import Device, Latency, LatencyPredictor, MaxLatency, Reference
    from onepath.runs.workspace import Workspace
    from onepath.space import Architecture

PROFILE = "profile"
MEASURED = "latency"
# Of a table that a run makes for itself; the winner is measured, so less will do than `onepath profile` spends.
_PROFILE_SECONDS = 120.0
_NUM_MEASURED = 60  # networks, where no table is possible


class Latencies:
    """The latencies of one run.

    A table or predictor is copied into the run directory before the first training, or profiled there; measured
    values are in the trial store as soon as they are known. So a run that was killed decides by the same figures.

    Args:
        run: whose configuration is resolved.
    """

    def __init__(self, run: Workspace, check_limits: Callable[[LatencyPredictor | None], None]) -> None:
        self._run, self._check_limits = run, check_limits

    @cached_property
    def device(self) -> Device:
        """The device of the configuration; batch and precision are those of a given table.

        Raises:
            ConfigurationError: there is no such device, or it cannot be used here.
        """
        from onepath import latency

        config = self._run.config
        settings = {} if config.latency_table is None else self._given.device
        assert config.device is not None, "the configuration is resolved"
        return latency.device(
            config.device,
            threads=config.device_threads,
            batch=int(settings.get("batch", 1)),
            precision=str(settings.get("precision", "float32")),
        )

    @property
    def predictor(self) -> LatencyPredictor:
        """What screens the candidates; profiled now, where that has not been done."""
        self.prepare()
        return self._given

    def limit(self, ms: float, predictor: LatencyPredictor | None = None) -> MaxLatency:
        """At most `ms` as a constraint, by the run's own predictor unless another one is given."""
        from onepath.latency import MaxLatency

        return MaxLatency(self.device, ms, self.predictor if predictor is None else predictor)

    def prepare(self) -> None:
        """Have the table in the run directory, and see that every limit can be met; nothing without a limit.

        Raises:
            InfeasibleError: a limit is under the smallest predicted latency of the space, or the network of that
                prediction is measured to be over it.
        """
        run = self._run
        if run.config.max_latency_ms is None or run.is_done(PROFILE):
            return
        with run.stage(PROFILE) as clock:
            if run.config.latency_table is None:
                self.__dict__["_given"] = self._obtained()
            else:
                self._given.save(run.path / _file_name(self._given))
            clock.record = {"file": _file_name(self._given), **_trust(self._given)}
            run.directory.save_file_digest(clock.record["file"])
            self._check_limits(self._given)
            self._check_fastest()

    def _check_fastest(self) -> None:
        """Measure the network of the smallest predicted latency, where predictions are additive.

        One quick session is enough where it is within every limit; only one that is not is measured as a winner is.

        Raises:
            InfeasibleError: it is steadily over a limit with its spread, so that no network can be expected to meet it.
        """
        from onepath.latency import measure

        run, table = self._run, self._given.table
        limits_ms = run.config.max_latency_ms
        if table is None or limits_ms is None:
            return
        space, limit_ms = run.blank.space, min(limits_ms)
        predicted_ms = table.extremes(space)[0]
        rows = space.sample_within(table, None, predicted_ms, 1, generator(run.config.seed, "fastest"))
        (fastest,) = space.architectures(rows)
        (latency,) = measure(self.device, [run.blank.extract(fastest, inherit=False)], run.input_shape)
        if latency.is_noisy or latency.is_within(limit_ms):
            return
        latency = self.measure(fastest)
        if latency.is_noisy:
            self.forget_noisy()
        elif not latency.is_within(limit_ms):
            raise InfeasibleError(
                f"a network must be measured within max_latency_ms on {self.device.name}, but got {limit_ms:g} ms, and "
                f"the one of the smallest predicted latency, {predicted_ms:.4g} ms, takes {latency.held_ms:.4g} ms "
                "with its spread; raise max_latency_ms"
            )

    @property
    def file(self) -> str:
        """Name of the table or predictor in the run directory, once `prepare` has put it there."""
        name = self._run.directory.store.stage(PROFILE).record.get("file")
        if name not in (LATENCY_TABLE, LATENCY_PREDICTOR):
            raise damaged_error(self._run.path / TRIALS)
        return str(name)

    def check_given(self) -> LatencyPredictor | None:
        """The table that came with the configuration, if one did and it is of this space and device.

        Raises:
            ConfigurationError: it is of others; names both.
        """
        from onepath.latency.limit import check_predictor

        run = self._run
        if run.config.latency_table is None:
            return None
        check_predictor(self._given, run.blank, self.device, run.input_shape, run.config.space)
        return self._given

    def predicted(self, architectures: Iterable[Architecture]) -> list[float]:
        """Latencies in ms, as the limit screens them."""
        run = self._run
        matrix = run.blank.space.matrix(list(architectures))
        bound = self.limit(1.0).bind(run.blank, run.input_shape)
        return [float(ms) for ms in bound.costs(matrix)]

    def measure(self, architecture: Architecture) -> Latency:
        """The latency of a network on the device, stored; measured now if it has not been."""
        from onepath.latency import Latency, confirm

        run, store = self._run, self._run.directory.store
        row, known = self._stored()
        if str(architecture) not in known:
            model = run.blank.extract(architecture, inherit=False)
            latency = confirm(
                self.device,
                model,
                run.input_shape,
                limit_ms=run.config.limit_ms,
                reference=self._reference,
                on_wait=self._tell_wait,
            )
            known = {**known, str(architecture): asdict(latency)}
            record = {"settings": self.device.settings(), "measured": known}
            store.put_stage(StageRow(MEASURED, row.seconds, True, record))
        return Latency(**known[str(architecture)])

    def _tell_wait(self, slowness: float, seconds: float) -> None:
        self._run.progress.note(
            f"the machine is {slowness:.2f} times as slow as when its latencies were predicted; waiting {seconds:.0f} s"
        )

    def forget_noisy(self) -> None:
        """Drop the measurements that nothing can rest on, so that they are made again."""
        store = self._run.directory.store
        row, known = self._stored()
        kept = {name: latency for name, latency in known.items() if not latency["is_noisy"]}
        store.put_stage(StageRow(MEASURED, row.seconds, True, {**row.record, "measured": kept}))

    def _stored(self) -> tuple[StageRow, dict[str, Any]]:
        """The stage of what was measured, and the latency of each architecture that was, as plain values.

        Raises:
            RunDirectoryError: the store holds something else.
        """
        from onepath.latency.checked_files import check_nodes
        from onepath.latency.table_nodes import MeasuredNode

        row = self._run.directory.store.stage(MEASURED)
        try:
            check_nodes(MeasuredNode, row.record)
        except ValueError as error:
            raise damaged_error(self._run.path / TRIALS) from error
        return row, row.record.get("measured", {})

    def is_within(self, latency: Latency) -> bool:
        """Whether a measured latency meets the limit of the run; see `Latency.is_within`."""
        limit_ms = self._run.config.limit_ms
        assert limit_ms is not None, "there is a limit"
        return latency.is_within(limit_ms)

    @cached_property
    def _given(self) -> LatencyPredictor:
        """The copy in the run directory; before there is one, what the configuration names."""
        from onepath.latency import load_predictor

        run = self._run
        if run.has_begun and run.is_done(PROFILE):
            if not run.directory.is_as_written(self.file):
                raise damaged_error(run.path / self.file)
            return load_predictor(run.path / self.file)
        assert run.config.latency_table is not None, "without a file it is profiled"
        return load_predictor(run.config.latency_table)

    @cached_property
    def _reference(self) -> Reference | None:
        """A network of the table, so that a slow moment of the machine is not taken for a slow network."""
        from onepath.latency import Reference
        from onepath.latency.limit import known_network

        known = known_network(self._given)
        if known is None:
            return None
        space = self._run.blank.space
        return Reference(self._run.blank.extract(space.parse(known[0]), inherit=False), known[1])

    def _obtained(self) -> LatencyPredictor:
        """A table of this space, device and machine: kept by an earlier run, or profiled now and kept for later.

        Where latency is no sum over parts, whole networks are measured, and a predictor learns from them.
        """
        from onepath.latency.kept import kept_or_profiled
        from onepath.latency.parts import PartsError
        from onepath.latency.predictor import profile_networks

        run = self._run
        try:
            return kept_or_profiled(
                run.blank,
                self.device,
                run.input_shape,
                path=run.path / LATENCY_TABLE,
                say=run.progress.note,
                seed=run.config.seed,
                space_name=run.config.space,
                arguments=self._arguments(),
                max_seconds=_PROFILE_SECONDS,
                progress=self._teller(),
            )
        except PartsError as error:
            num = min(_NUM_MEASURED, run.blank.space.size)
            run.progress.note(f"no table of parts ({error}): {num} whole networks are measured")
        run.progress.begin("measuring networks", num)
        return profile_networks(
            run.blank,
            self.device,
            run.input_shape,
            num,
            path=run.path / LATENCY_PREDICTOR,
            seed=run.config.seed,
            space_name=run.config.space,
            progress=lambda done, _: run.progress.advance(done),
        )

    def _arguments(self) -> dict[str, Any]:
        """What the space was built with, for messages; what was not given is left out."""
        run = self._run
        channels, *size = run.input_shape
        arguments = {
            "num_classes": run.facts["classes"],
            "input_size": min(size, default=None),
            "in_channels": channels,
            "width": run.config.width,
            **run.config.space_arguments,
        }
        return {name: value for name, value in arguments.items() if value is not None}

    def _teller(self) -> Callable[[str, float, str], None]:
        """Tells the run's progress, in percent, how far the profile is."""
        progress = self._run.progress
        titles = {"prepare": "preparing the latency table", "measure": "measuring the latency table"}
        current = ""

        def tell(stage: str, share: float, note: str) -> None:
            nonlocal current
            if stage != current:
                progress.begin(titles.get(stage, stage), 100, 0)
                current = stage
            progress.advance(round(100 * share), note)

        return tell


def _file_name(predictor: LatencyPredictor) -> str:
    from onepath.latency.table import LatencyTable

    return LATENCY_TABLE if isinstance(predictor, LatencyTable) else LATENCY_PREDICTOR


def _trust(predictor: Any) -> dict[str, Any]:
    """How far the predictions can be trusted, for the report; None where nobody looked."""
    try:
        bound = float(predictor.error_ms_95)
    except ConfigurationError:
        bound = None
    errors = getattr(predictor, "errors", None) or {}
    return {"error_ms_95": bound, "mape_percent": errors.get("mape_percent")}
