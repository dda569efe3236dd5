# STUB
def best_first(accuracies, losses, *, is_derived, costs=(), ties="loss"):
    import numpy as np

    on = [False] * len(accuracies)
    if ties == "front":
        from onepath.search import pareto_front

        pts = np.column_stack([accuracies, *costs])
        on = list(pareto_front(pts, maximise=[True] + [False] * len(costs)))
    return sorted(
        range(len(accuracies)), key=lambda i: (not is_derived[i], -accuracies[i], not on[i], losses[i], i)
    )
