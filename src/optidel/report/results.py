"""The scores of a run: a table and charts for each protocol."""

from dataclasses import dataclass

from optidel.outcomes import Outcomes
from optidel.report.figures import budget_chart, difference_chart, label_in, score_chart
from optidel.runs.collect import MethodScore, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with the id it has on the page."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolResults:
    """One protocol: its rows, the same as charts, and the score against budget."""

    protocol: str
    outcomes: Outcomes
    rows: tuple[MethodScore, ...]
    charts: tuple[Chart, ...]
    against_budget: Chart


def results_of(run: Run) -> tuple[ProtocolResults, ...]:
    """The results of every protocol that has a score."""
    results = []
    for protocol in run.protocols:
        results.append(_results(run, protocol))
    return tuple(results)


def _results(run: Run, protocol: str) -> ProtocolResults:
    scores = tuple(score for score in run.scores if score.protocol == protocol)
    charts = [
        Chart(
            name=f"{scores[0].outcomes[0].name}-{protocol}",
            title=f"{label_in(scores)} with its interval",
            svg=score_chart(scores, run.methods),
        )
    ]
    # Without random there is nothing to subtract.
    if any(score.difference is not None for score in scores):
        difference = difference_chart(scores, run.methods)
        charts.append(Chart(name=f"difference-{protocol}", title="Difference to random", svg=difference))

    budget = Chart(name=f"budget-{protocol}", title=protocol, svg=budget_chart(run, protocol))
    return ProtocolResults(
        protocol=protocol,
        outcomes=scores[0].outcomes,
        rows=scores,
        charts=tuple(charts),
        against_budget=budget,
    )
