"""Datasets, splits, batches and augmentation. The rest of the package uses data only through `Task`."""

from onepath.data.dataset_task import DatasetTask
from onepath.data.image_task import ImageTask
from onepath.data.load import load_data
from onepath.data.metrics import METRICS, Metric
from onepath.data.preprocessing import Normalisation, Preprocessing
from onepath.data.task import Batch, Split, Task
from onepath.data.text_task import TextTask

__all__ = [
    "METRICS",
    "Batch",
    "DatasetTask",
    "ImageTask",
    "Metric",
    "Normalisation",
    "Preprocessing",
    "Split",
    "Task",
    "TextTask",
    "load_data",
]
