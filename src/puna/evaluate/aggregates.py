"""Figures made of other figures: means over the questions of several groups, and means over tasks."""

import math
from collections.abc import Sequence

from puna.evaluate.figure import Figure

HUMANITIES, STEM, SOCIAL_SCIENCES, OTHER = "Humanities", "STEM", "Social Sciences", "Other"

MMLU_CATEGORIES = {
    HUMANITIES: (
        "formal_logic", "high_school_european_history", "high_school_us_history", "high_school_world_history",
        "international_law", "jurisprudence", "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy",
        "prehistory", "professional_law", "world_religions",
    ),
    STEM: (
        "abstract_algebra", "astronomy", "college_biology", "college_chemistry", "college_computer_science",
        "college_mathematics", "college_physics", "computer_security", "conceptual_physics", "electrical_engineering",
        "elementary_mathematics", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
        "high_school_mathematics", "high_school_physics", "high_school_statistics", "machine_learning",
    ),
    SOCIAL_SCIENCES: (
        "econometrics", "high_school_geography", "high_school_government_and_politics", "high_school_macroeconomics",
        "high_school_microeconomics", "high_school_psychology", "human_sexuality", "professional_psychology",
        "public_relations", "security_studies", "sociology", "us_foreign_policy",
    ),
    OTHER: (
        "anatomy", "business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging",
        "management", "marketing", "medical_genetics", "miscellaneous", "nutrition", "professional_accounting",
        "professional_medicine", "virology",
    ),
}  # fmt: skip
"""MMLU's subjects as Hendrycks et al. (2020) group them. Table 16 of Touvron et al. (2023) prints Anatomy as STEM, but
its summaries come out only with Anatomy in Other; lm-evaluation-harness counts it as STEM."""


def pooled(figures: Sequence[Figure]) -> Figure:
    """The mean over all documents of several groups, from the groups' own means.

    Every document weighs the same, so a group weighs as many documents as it has. The standard error is that of all
    documents as one sample: a group's mean and standard error say what the squares of its values add up to.
    """
    found = [(figure.n, figure.value, figure.stderr) for figure in figures if figure.value is not None]
    missing = sum(figure.missing for figure in figures)
    n = sum(size for size, _, _ in found)
    if not n:
        return Figure(value=None, n=0, missing=missing)
    centre = math.fsum(size * value for size, value, _ in found) / n
    if n < 2 or any(stderr is None and size > 1 for size, _, stderr in found):
        return Figure(value=centre, n=n, missing=missing)
    within = math.fsum(size * (size - 1) * (stderr or 0.0) ** 2 for size, _, stderr in found)
    between = math.fsum(size * (value - centre) ** 2 for size, value, _ in found)
    return Figure(value=centre, n=n, missing=missing, stderr=math.sqrt((within + between) / (n - 1) / n))


def mean_of_tasks(figures: Sequence[Figure], *, independent: bool) -> Figure:
    """The mean of several tasks' figures, each weighing the same; None as its value where one has none.

    Args:
        figures: One for each row of a table.
        independent: Whether no two of them are about the same documents. Only then is there a standard error, since two
            metrics of one task vary together.

    Returns:
        A figure whose `n` counts the tasks.
    """
    values = [figure.value for figure in figures if figure.value is not None]
    if not values or len(values) < len(figures):
        return Figure(value=None, n=0, missing=len(figures) - len(values))
    centre = math.fsum(values) / len(values)
    errors = [figure.stderr for figure in figures if figure.stderr is not None]
    if not independent or len(errors) < len(figures):
        return Figure(value=centre, n=len(values))
    return Figure(value=centre, n=len(values), stderr=math.sqrt(math.fsum(e * e for e in errors)) / len(values))
