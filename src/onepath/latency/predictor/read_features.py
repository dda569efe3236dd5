"""Read the features of a latency predictor from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onepath.counting import CostTable
from onepath.errors import DataError, shown
from onepath.latency.checked_files import check_nodes
from onepath.latency.device_errors import one_line
from onepath.latency.predictor.features import MOST_OPTIONS, EncodedFeatures, EncodedNode, Features
from onepath.latency.predictor.hat import HatFeatures


def features_from_data(data: Mapping[str, Any]) -> Features:
    """Return the features that `Features.to_data` wrote.

    Raises:
        DataError: the data are not such features.
    """
    try:
        if data["kind"] == HatFeatures.kind:
            return HatFeatures()
        if data["kind"] == EncodedFeatures.kind:
            node = check_nodes(EncodedNode, data)
            costs = [CostTable.from_json(json.dumps(cost)) for cost in node.costs]
            if sum(num for _, num in node.choices) > MOST_OPTIONS:
                raise ValueError(f"choices must have at most {MOST_OPTIONS:,} options in all")
            return EncodedFeatures(node.choices, node.encoding, costs)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"features must be as onepath wrote them, but got {one_line(error)}; fit the predictor again"
        ) from error
    raise DataError(
        f"features must be of kind encoded or hat, but got {shown(data['kind'])}; fit the predictor again"
    )
