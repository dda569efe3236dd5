"""`onepath.run` and the stages of a run: train, search, retrain, export and report, each of them resumable."""

from onepath.option_types import parse_count
from onepath.runs.config import RunConfig
from onepath.runs.continuing import continued_config
from onepath.runs.definition import SUPERNET, check_reads, check_takes
from onepath.runs.making import make_config
from onepath.runs.opened import Run
from onepath.runs.progress import Progress, SilentProgress
from onepath.runs.result import Result, load_run
from onepath.runs.run import finish, run
from onepath.runs.stages import export, report, retrain, run_stage, search, train
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork, network_score
from onepath.runs.trainings import train_networks
from onepath.runs.workspace import STAGES, StageClock

__all__ = [
    "STAGES",
    "SUPERNET",
    "PlannedNetwork",
    "Progress",
    "Result",
    "Run",
    "RunConfig",
    "SilentProgress",
    "StageClock",
    "TrainedNetwork",
    "check_reads",
    "check_takes",
    "continued_config",
    "export",
    "finish",
    "load_run",
    "make_config",
    "network_score",
    "parse_count",
    "report",
    "retrain",
    "run",
    "run_stage",
    "search",
    "train",
    "train_networks",
]
