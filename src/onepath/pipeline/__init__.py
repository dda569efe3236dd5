"""`op.run`: train, search, retrain, export, report, each stage resumable."""

from onepath.pipeline.config import RunConfig, make_config, parse_count
from onepath.pipeline.context import STAGES, Run
from onepath.pipeline.continuing import continued_config
from onepath.pipeline.progress import Progress, SilentProgress
from onepath.pipeline.result import Result, load_run
from onepath.pipeline.run import finish, run
from onepath.pipeline.stages import export, report, retrain, run_stage, search, train

__all__ = [
    "STAGES",
    "Progress",
    "Result",
    "Run",
    "RunConfig",
    "SilentProgress",
    "continued_config",
    "export",
    "finish",
    "load_run",
    "make_config",
    "parse_count",
    "report",
    "retrain",
    "run",
    "run_stage",
    "search",
    "train",
]
