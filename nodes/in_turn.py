"""A decider without a model: each participant works once, in order; then their words are told."""

from asterism.core.supervisor_decision import AnswerDecision, SupervisorDecision
from asterism.nodes.view import SupervisorView


def sequential_decider(view: SupervisorView) -> SupervisorDecision:
    """Send the next participant to work, or answer with what all have reported.

    Each is sent the request as it was written. Where one fails, those after it do not work,
    and the request fails.
    """
    for report in view.reports:
        if report["status"] != "ok":
            why = f"{report.get('kind')}: {report['participant']}: {report.get('error')}"
            return AnswerDecision(next_agent=None, failure=why)
    reported = {report["participant"] for report in view.reports}
    for name in view.participants:
        if name not in reported:
            return SupervisorDecision(next_agent=name)
    answer = "\n\n".join(report["text"] for report in view.reports)
    return AnswerDecision(next_agent=None, answer=answer)
