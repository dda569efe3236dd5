"""The latencies of a run: the device, the predictor, and the measurements; each network is measured once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, InfeasibleError
from onepath.nn.alignment import widest_path
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
# Timing of a table that a run makes for itself: less than `onepath profile` spends, because the winner is measured.
_PROFILE_SECONDS = 120.0
_NUM_MEASURED = 60  # networks that are measured if no table is possible


class Latencies:
    """The predicted and measured latencies of one run.

    Before the first training, a table or predictor is copied into the run directory, or profiled there. A measurement
    is in the trial store as soon as it is made. So a run that was killed decides by the same figures.

    Args:
        run: the run; its configuration must be resolved.
        check_limits: called with the predictor; raises unless some architecture meets the limits of every winner.
    """

    def __init__(self, run: Workspace, check_limits: Callable[[LatencyPredictor | None], None]) -> None:
        self._run, self._check_limits = run, check_limits

    @cached_property
    def device(self) -> Device:
        """The device of the configuration; its batch and precision are those of the given table, else 1 and float32.

        Raises:
            ConfigurationError: there is no such device, or it cannot be used on this machine.
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
        """The predictor of latency that screens the candidates; it is profiled first if that has not been done."""
        self.prepare()
        return self._given

    @property
    def _model_ms(self) -> float | None:
        """Latency of the given model in ms, of which limits in percent are shares; None if no limit was in percent.

        The machine may be slower or faster when a network is measured. So each is measured beside the model then, and
        predictions are scaled to predict this latency for the model.
        """
        found: float | None = self._run.facts.get("model_ms")
        return found

    def _scale(self, predictor: LatencyPredictor) -> float:
        """Return the predicted latency of the given model divided by its measured one; 1 without a limit in percent."""
        from onepath.latency import MaxLatency

        if self._model_ms is None:
            return 1.0
        run = self._run
        bound = MaxLatency(self.device, 1.0, predictor).bind(run.blank, run.input_shape)
        return float(bound.costs(run.blank.space.matrix([widest_path(run.blank)]))[0]) / self._model_ms

    def limit(self, ms: float, predictor: LatencyPredictor | None = None) -> MaxLatency:
        """Return the constraint that the predicted latency is at most `ms`, or as much of the model's prediction.

        Args:
            ms: largest latency in milliseconds.
            predictor: what predicts the latency; None takes the run's own predictor.
        """
        from onepath.latency import MaxLatency

        predictor = self.predictor if predictor is None else predictor
        return MaxLatency(self.device, ms * self._scale(predictor), predictor)

    @property
    def expected_seconds(self) -> float:
        """Most seconds that `prepare` will spend on a table: 0 if none is needed, or one is given or kept."""
        from onepath.latency.kept import kept_path

        config = self._run.config
        if config.max_latency_ms is None or config.latency_table is not None:
            return 0.0
        kept = kept_path(self._run.blank, self.device, self._run.input_shape)
        return 0.0 if kept is not None and kept.is_file() else _PROFILE_SECONDS

    def prepare(self) -> None:
        """Put the table into the run directory, and check that every limit on latency can be met.

        Without a limit on latency, or if it has been done already, nothing happens.

        Raises:
            InfeasibleError: a limit is below the smallest predicted latency of the space, or the network with that
                prediction is measured to be over the limit.
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
        """Measure the network with the smallest predicted latency, if predictions are additive.

        One quick measurement is enough if it is within every limit or noisy, and no limit is a share of the model's
        latency. If not, the network is measured again in the way that winners are measured.

        Raises:
            InfeasibleError: a steady measurement with its spread is over a limit, so that no network can be expected
                to meet that limit.
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
        if self._model_ms is None:
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
        """Name of the file in the run directory with the table or predictor, once `prepare` has put it there.

        Raises:
            RunDirectoryError: the trial store names no such file.
        """
        name = self._run.directory.store.stage(PROFILE).record.get("file")
        if name not in (LATENCY_TABLE, LATENCY_PREDICTOR):
            raise damaged_error(self._run.path / TRIALS)
        return str(name)

    def check_given(self) -> LatencyPredictor | None:
        """Return the table or predictor that the configuration names, after a check; None if it names none.

        Raises:
            ConfigurationError: it belongs to another space or device; the message names both.
        """
        from onepath.latency.limit import check_predictor

        run = self._run
        if run.config.latency_table is None:
            return None
        check_predictor(self._given, run.blank, self.device, run.input_shape, run.config.space)
        return self._given

    def predicted(self, architectures: Iterable[Architecture]) -> list[float]:
        """Return the predicted latency of each architecture in ms, as the search compares it with the limit."""
        run = self._run
        matrix = run.blank.space.matrix(list(architectures))
        limit = self.limit(1.0)
        bound = limit.bind(run.blank, run.input_shape)
        return [float(ms) / limit.maximum for ms in bound.costs(matrix)]

    def measure(self, architecture: Architecture) -> Latency:
        """Return the stored latency of an architecture's stand-alone network; measure and store it if there is none."""
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
        """Delete the noisy measurements from the trial store, so that they are made again."""
        store = self._run.directory.store
        row, known = self._stored()
        kept = {name: latency for name, latency in known.items() if not latency["is_noisy"]}
        store.put_stage(StageRow(MEASURED, row.seconds, True, {**row.record, "measured": kept}))

    def _stored(self) -> tuple[StageRow, dict[str, Any]]:
        """Return the stage row of the measurements, and architecture -> its measured latency as plain values.

        Raises:
            RunDirectoryError: the stored measurements are damaged.
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
        """The predictor in the run directory; before there is one, the file that the configuration names."""
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
        """A network with a known latency, to tell a slow moment of the machine from a slow network; None if unknown."""
        from onepath.latency import Reference
        from onepath.latency.limit import known_network

        supernet = self._run.blank
        if self._model_ms is not None:
            return Reference(supernet.extract(widest_path(supernet)), self._model_ms, scales=True)
        known = known_network(self._given)
        if known is None:
            return None
        return Reference(supernet.extract(supernet.space.parse(known[0]), inherit=False), known[1])

    def _obtained(self) -> LatencyPredictor:
        """Return a table for this space, device and machine: kept from an earlier run, or profiled now and kept.

        If the latency of the space is not a sum over parts, whole networks are measured, and a predictor is fitted to
        them.
        """
        from onepath.latency.kept import kept_or_profiled
        from onepath.latency.predictor import profile_networks
        from onepath.latency.splitting import PartsError

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
        """Return the arguments that the space was built with, for messages; those that are None are left out."""
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
        """Return a function that tells the run's progress how far the profile is, in percent."""
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
    """Return the error figures of the predictions, for the report; a figure that was not measured is None."""
    try:
        bound = float(predictor.error_ms_95)
    except ConfigurationError:
        bound = None
    errors = getattr(predictor, "errors", None) or {}
    return {"error_ms_95": bound, "mape_percent": errors.get("mape_percent")}
