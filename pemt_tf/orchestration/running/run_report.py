"""The result of one run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from pemt_tf.evaluation.intervals import top5_is_certain
from pemt_tf.terminal.progress import duration

NOT_RUN = "NOT RUN"
RUNNING = "RUNNING"
STOPPED = "STOPPED"  # it was running when its process ended
FINE = ("COMPLETE", "CACHED")


@dataclass(frozen=True)
class RunReport:
    """One run of a pipeline."""

    states: dict[str, str]  # by node, in the pipeline's order: COMPLETE, FAILED, CANCELED or one of those above
    blessed: bool | None = None  # None if the Evaluator did not judge a model
    evaluation: str = ""  # folder of the Evaluator's results
    pushed: str = ""  # folder of the pushed version, whose name is the version
    unchanged: bool = False  # that version existed before: the model is the same
    card: str = ""  # folder of the model card
    seconds: dict[str, float] = field(default_factory=dict)  # by node; for a running one, so far
    began: float = 0.0  # seconds since 1970; 0 if the run has not begun
    data: str = ""  # span and version in words
    metrics: dict[str, Any] = field(default_factory=dict)  # those of the model card, by name

    @property
    def begun(self) -> bool:
        """Whether any node ran or was cached."""
        return any(state != NOT_RUN for state in self.states.values())

    @property
    def succeeded(self) -> bool:
        """Whether every node is complete or cached."""
        return all(state in FINE for state in self.states.values())

    def lines(self) -> list[str]:
        """The lines at the end of a run."""
        lines = self.node_lines()
        if self.metrics:
            lines.append(metrics_in_words(self.metrics))
        if self.blessed is not None:
            lines.append(f"model blessed: {'yes' if self.blessed else 'no, so it is not pushed'}")
        if self.pushed:
            folder, _, version = self.pushed.rpartition("/")
            how = "already in service" if self.unchanged else "pushed"
            lines.append(f"model {how}: version {version} in {folder}")
        if self.card:
            lines.append(f"model card: {self.card}/MODEL_CARD.md")
        return lines

    def node_lines(self) -> list[str]:
        """A line for each node: its state and duration."""
        width = max(map(len, self.states), default=0)
        lines = []
        for node, state in self.states.items():
            took = duration(self.seconds[node]) if node in self.seconds and state != "CACHED" else ""
            lines.append(f"{node:{width}}  {state:8}  {took:>7}".rstrip())
        return lines

    def history_lines(self) -> list[str]:
        """The lines in a list of runs: the outcome first, then the nodes."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.began))
        lines = [f"{when}, {duration(sum(self.seconds.values()))}: {self.outcome}"]
        about = [f"data: {self.data}"] if self.data else []
        about += [metrics_in_words(self.metrics)] if self.metrics else []
        return [*lines, *(f"  {line}" for line in [*about, *self.node_lines()])]

    @property
    def outcome(self) -> str:
        """The run in a few words."""
        for wanted in (RUNNING, "FAILED", STOPPED, "CANCELED"):
            found = [node for node, state in self.states.items() if state == wanted]
            if found:
                return f"{wanted.lower()} at {found[0]}" if wanted != RUNNING else f"running, at {found[0]}"
        if self.pushed:
            return f"model version {self.pushed.rpartition('/')[2]} {'unchanged' if self.unchanged else 'pushed'}"
        if self.blessed is False:
            return "model not blessed, not pushed"
        return "complete" if self.succeeded else "stopped between two nodes"


def metrics_in_words(metrics: dict[str, Any]) -> str:
    """One line: top-1 and top-5, and the top-1 of the model that it was compared with."""
    if "mean_average_precision" in metrics:
        return _several_in_words(metrics)
    line = (
        f"top-1 {metrics['top1']:.1%}, top-5 {metrics['top5']:.1%} on {metrics['clips']:,} clips of {metrics['split']}"
    )
    if metrics.get("baseline_top1") is not None:
        line += f" (last blessed model: {metrics['baseline_top1']:.1%})"
    labels = len(metrics.get("precision") or ())
    return f"{line}; top-5 is always 100 % with {labels} labels" if labels and top5_is_certain(labels) else line


def _several_in_words(metrics: dict[str, Any]) -> str:
    named = (
        ("mean_average_precision", "mean average precision", ".1%"),
        ("auc", "AUC", ".3f"),
        ("d_prime", "d'", ".2f"),
    )
    parts = [f"{words} {metrics[name]:{form}}" for name, words, form in named if metrics.get(name) is not None]
    line = f"{', '.join(parts)} on {metrics['clips']:,} clips of {metrics['split']}"
    baseline = metrics.get("baseline_mean_average_precision")
    return line if baseline is None else f"{line} (last blessed model: {baseline:.1%})"
