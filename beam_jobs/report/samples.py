"""Which clips a report shows: spread over splits and labels, and the same whenever the data set is the same."""

from __future__ import annotations

from pemt_tf.data.dataset_card import SPLITS

Group = tuple[str, "str | None"]  # a split and a label, None for unlabelled clips


def chosen_places(groups: dict[Group, int], most: int) -> dict[Group, list[int]]:
    """Which clips of each group to show, as places among the group's clips, given the groups' sizes.

    Every split gets the same number as far as it has clips, and so does every label in it. If a split has more labels
    than it may show clips, evenly spread ones are shown.
    """
    splits = [split for split in SPLITS if any(one == split for one, _ in groups)]
    labels = {split: _labels(groups, split) for split in splits}
    quotas = shared_out(most, [sum(groups[split, label] for label in labels[split]) for split in splits])
    places = {}
    for split, quota in zip(splits, quotas, strict=True):
        shown = min(quota, len(labels[split]))
        some = [labels[split][number * len(labels[split]) // shown] for number in range(shown)]
        counts = [groups[split, label] for label in some]
        for label, count, number in zip(some, counts, shared_out(quota, counts), strict=True):
            places[split, label] = [(2 * place + 1) * count // (2 * number) for place in range(number)]
    return places


def shared_out(total: int, room: list[int]) -> list[int]:
    """Gives `total` things to takers, one each in turn, none more than it has room for."""
    given = [0] * len(room)
    while sum(given) < min(total, sum(room)):
        for taker, most in enumerate(room):
            if given[taker] < most and sum(given) < total:
                given[taker] += 1
    return given


def _labels(groups: dict[Group, int], split: str) -> list[str | None]:
    """The labels of a split, by name; unlabelled clips come last."""
    return sorted((label for one, label in groups if one == split), key=lambda label: (label is None, label or ""))
