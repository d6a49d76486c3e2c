"""What the other verbs leave in a run, made by their own classes."""

from __future__ import annotations

import numpy as np

from synthgen.audit import Audit
from synthgen.metrics.bias import AttributeSummary, BiasMeasurement, BiasReport, Transition
from synthgen.metrics.privacy.conclusion import conclude
from synthgen.metrics.privacy.trials import Control, Rules, Trial, judge, judge_groups
from synthgen.metrics.sets import Verdict
from synthgen.types import Finding


def audit(hits: int, people: int = 300, attackers: tuple[str, ...] = ("one", "two")) -> Audit:
    """`attackers` reached `hits` of `people` identities; scenes are told, and no plate could be read."""
    names = tuple(f"person-{number}" for number in range(people))
    reached = np.arange(people) < hits
    controls = {"positive": Control(95, 100), "negative": Control(0, 300)}
    trials = [
        Trial("re-identification", one, "Who?", "identity", names, reached, chance=1 / people, **controls)
        for one in attackers
    ]
    trials.append(Trial("scenes", "scenes", "Where?", "scene", names, np.ones(people, np.bool_), gates=False))
    trials.append(Trial("plates", "reader", "What is on it?", "plate", reason="no plates", gates=False))
    rules = Rules(attacks=len(attackers))
    tones = {"tone": {name: ("dark", "light")[number % 2] for number, name in enumerate(names)}}
    results, groups = tuple(judge(trial, rules) for trial in trials), judge_groups(trials, rules, tones)
    conclusion = conclude(results, {}, rules, {"one"})
    finding = Finding("few-photos", "release", "only a few photographs were there")
    absent = {"membership": "no weights were tuned on the source"}
    return Audit(conclusion, tuple(trials), results, groups, absent, (finding,), rules, people, people, {}, {})


def bias_report(verdict: Verdict = "pass", run_id: str = "0") -> BiasReport:
    """Two groups, one gate and one explored number."""
    gate = BiasMeasurement(
        "acceptance", "tone", "dark", 40, value=0.5, reference=0.9, difference=-0.4, ratio=0.55,
        interval=(-0.6, -0.2), p=0.0004, level=0.05, gate=True, detectable=0.3, verdict=verdict,
    )  # fmt: skip
    explored = BiasMeasurement("association", "tone", "dark", 12, label="Car", reason="fewer than 30")
    return BiasReport(
        verdict,
        {"run_id": run_id},
        (
            AttributeSummary(
                "tone",
                "ita",
                "face",
                True,
                ("dark", "light"),
                {"dark": 40, "light": 60},
                {"dark": 20, "light": 54},
                0,
                0,
            ),
        ),
        (Transition("tone", ("dark", "light", "unknown"), ((18, 2, 0), (1, 50, 3), (0, 0, 0))),),
        (gate, explored),
        (Finding("leak-absent", "output", "no audit lies in this run"),),
        {},
    )
