"""The final answer that a text gives by Minerva's rules (Lewkowycz et al., 2022, appendix D), in one form.

The substitutions are theirs. As in lm-evaluation-harness 0.4.13, whose form a test compares with ours on all answers of
MATH, names of units are taken out as words before spaces are, commands of LaTeX are not searched for them, and commas
are taken out of numbers in groups of three only.
"""

import re

_SUBSTITUTED = (
    ("an ", ""), ("a ", ""), (".$", "$"), (r"\$", ""), (r"\ ", ""), (" ", ""), ("mbox", "text"), (r",\text{and}", ","),
    (r"\text{and}", ","), (r"\text{m}", r"\text{}"),
)  # fmt: skip
_WORDS = (
    "square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "sue", "points", "feet",
    "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples",
)  # fmt: skip
"""Units and other words that may follow a number."""
_REMOVED = (
    *_WORDS[:10], r"\ldots", *_WORDS[10:], r"\text{s}", r"\text{.}", "\\text{\ns}", r"\text{}^2", r"\text{}^3",
    "\\text{\n}", r"\text{}", r"\mathrm{th}", r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"', r"\dots",
)  # fmt: skip
"""All that is removed, in the order of the appendix: an earlier one can make a later one."""
_COMMAND = re.compile(r"(\\[a-zA-Z]+)")


def final_answer(text: str) -> str | None:
    """What follows "The final answer is" on its line, up to the sentence that hopes it is correct, without the dot.

    Returns:
        None if the text does not say it, or says nothing there.
    """
    found = re.search(r"The final answer is(.*?)(?:I hope it is correct|$)", text, re.MULTILINE)
    answer = found[1].strip().removesuffix(".") if found else ""
    return answer or None


def one_form(answer: str) -> str:
    """An answer as it is compared: the right side of an equation, without units, dollar signs and decoration."""
    answer = answer.split("=")[-1]
    for word in _WORDS:
        answer = re.sub(rf"(?<!\\)\b{word}\b", "", answer)
    for before, after in _SUBSTITUTED:
        answer = answer.replace(before, after)
    for removed in _REMOVED:
        if removed.isalpha():
            parts = _COMMAND.split(answer)
            parts[::2] = [part.replace(removed, "") for part in parts[::2]]
            answer = "".join(parts)
        else:
            answer = answer.replace(removed, "")
    answer = re.sub(r".*?(\$.*?\$).*", r"\1", answer)
    for command in ("text", "textbf", "overline"):
        answer = re.sub(rf"\\{command}\{{(.*?)\}}", r"\1", answer)
    answer = re.sub(r"\\boxed\{(.*)\}", r"\1", answer)
    answer = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", answer)
    answer = re.sub(r"sqrt(\[[^\]]*\])(\w)", r"sqrt\1{\2}", answer)
    answer = re.sub(r"sqrt(?!\[)([^{])", r"sqrt{\1}", answer)
    answer = answer.replace("$", "")
    return answer.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", answer) else answer
