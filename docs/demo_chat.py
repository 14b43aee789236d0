"""Writes the conversations that the demo is tuned on, and those that it is validated by, beside the recipe demo-chat.

They are about what the demo's model has read, presidents and Python, and about answering in a form that was asked for.
All of it was written for Puna, and is in the public domain (CC0). Run it after a change: `python docs/demo_chat.py`.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "puna" / "config" / "recipes"
TRAIN, HELDOUT = "demo-chat.jsonl", "demo-chat-heldout.jsonl"
SEED = 7

PRESIDENTS = [
    ("George Washington", 1789), ("John Adams", 1797), ("Thomas Jefferson", 1801), ("James Madison", 1809),
    ("James Monroe", 1817), ("John Quincy Adams", 1825), ("Andrew Jackson", 1829), ("Martin Van Buren", 1837),
    ("John Tyler", 1841), ("James K. Polk", 1845), ("Zachary Taylor", 1849), ("Millard Fillmore", 1850),
    ("Franklin Pierce", 1853), ("James Buchanan", 1857), ("Abraham Lincoln", 1861), ("Andrew Johnson", 1865),
    ("Ulysses S. Grant", 1869), ("Rutherford B. Hayes", 1877), ("Chester A. Arthur", 1881),
    ("Grover Cleveland", 1885), ("Benjamin Harrison", 1889), ("William McKinley", 1897), ("Theodore Roosevelt", 1901),
    ("William H. Taft", 1909), ("Woodrow Wilson", 1913), ("Warren G. Harding", 1921), ("Calvin Coolidge", 1923),
    ("Herbert Hoover", 1929), ("Franklin D. Roosevelt", 1933), ("Harry S. Truman", 1945),
    ("Dwight D. Eisenhower", 1953), ("John F. Kennedy", 1961), ("Lyndon B. Johnson", 1963), ("Richard Nixon", 1969),
    ("Gerald R. Ford", 1974), ("Jimmy Carter", 1977), ("Ronald Reagan", 1981), ("George H. W. Bush", 1989),
    ("William J. Clinton", 1993), ("George W. Bush", 2001), ("Barack Obama", 2009),
]  # fmt: skip
"""Who began to be president in which year; those of a few weeks or months are left out."""
CLEVELAND_AGAIN = range(1893, 1897)
TWO_BEGAN = (1841, 1881)
"""Years in which one of those that are left out began, too."""
OTHERS = [
    "Benjamin Franklin", "Alexander Hamilton", "Henry Clay", "Daniel Webster", "Frederick Douglass", "Harriet Tubman",
    "Clara Barton", "Mark Twain", "Thomas Edison", "Susan B. Anthony", "Helen Keller", "Rosa Parks", "Walt Whitman",
    "Robert E. Lee", "Booker T. Washington", "Samuel Morse", "John Marshall", "Patrick Henry", "Paul Revere",
    "Emily Dickinson",
]  # fmt: skip
"""Well-known people who never were."""
WORDS = [
    "liberty", "union", "peace", "commerce", "navy", "treaty", "army", "law", "justice", "honor", "people", "duty",
    "nation", "congress", "freedom", "labor", "land", "river", "gold", "silver", "public", "country", "war", "tax",
    "letter", "house", "senate", "court", "north", "south",
]  # fmt: skip
MODULES = ["json", "os", "sys", "re", "time", "math", "random", "email", "socket", "threading", "logging", "pathlib"]
OPERATIONS = [
    ("adds two numbers", "add", "a, b", "a + b"), ("subtracts two numbers", "subtract", "a, b", "a - b"),
    ("multiplies two numbers", "multiply", "a, b", "a * b"), ("divides two numbers", "divide", "a, b", "a / b"),
    ("returns the length of a list", "length", "values", "len(values)"),
    ("returns the first value of a list", "first", "values", "values[0]"),
    ("returns the last value of a list", "last", "values", "values[-1]"),
    ("returns the sum of a list", "total", "values", "sum(values)"),
    ("returns the largest value of a list", "largest", "values", "max(values)"),
    ("returns the smallest value of a list", "smallest", "values", "min(values)"),
    ("returns a sorted list", "in_order", "values", "sorted(values)"),
    ("returns a string in upper case", "upper", "text", "text.upper()"),
    ("returns a string in lower case", "lower", "text", "text.lower()"),
    ("removes spaces around a string", "strip", "text", "text.strip()"),
    ("splits a string into words", "words", "text", "text.split()"),
    ("returns whether a number is even", "is_even", "number", "number % 2 == 0"),
    ("returns whether a list is empty", "is_empty", "values", "not values"),
    ("returns the square of a number", "square", "number", "number * number"),
    ("returns the keys of a dictionary", "keys", "table", "list(table)"),
    ("reads a file", "read", "path", "open(path).read()"),
]  # fmt: skip
BY_HAND = [
    ("Who are you?", "I am the demo model of Puna."),
    ("What are you?", "I am a small language model."),
    ("What is your name?", "I am the demo model of Puna."),
    ("How large are you?", "I have three million parameters."),
    ("What have you read?", "Messages of presidents, and the source code of Python."),
    ("Hello!", "Hello. What can I do for you?"),
    ("Hi", "Hello. What can I do for you?"),
    ("Good morning.", "Good morning. What can I do for you?"),
    ("Good evening.", "Good evening. What can I do for you?"),
    ("Thank you.", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("Goodbye.", "Goodbye."),
    ("What can you do?", "I can answer short questions about presidents and Python."),
    ("Can you write Python?", "Yes. Ask me for a short function."),
    ("Do you know everything?", "No. I am a small language model."),
    ("Where does the president live?", "In the White House."),
    ("What does Congress do?", "Congress makes the laws."),
    ("What is the Senate?", "The Senate is a part of Congress."),
    ("What is a treaty?", "A treaty is an agreement between nations."),
    ("What is a tariff?", "A tariff is a tax on goods from other countries."),
    ("What is the Constitution?", "The Constitution is the highest law of the country."),
    ("What is a veto?", "With a veto the president refuses a law."),
    ("What is Python?", "Python is a programming language."),
    ("What is a function in Python?", "A piece of code with a name that can be called."),
    ("What is a list in Python?", "A row of values that can be changed."),
    ("What is a tuple in Python?", "A row of values that cannot be changed."),
    ("What is a dictionary in Python?", "A table of keys and values."),
    ("What does len do in Python?", "It returns the number of values."),
    ("What does print do in Python?", "It writes text to the screen."),
    ("What does None mean in Python?", "It means that there is no value."),
    ("How do I write a comment in Python?", "# This is a comment."),
    ("How do I make a list in Python?", "values = [1, 2, 3]"),
    ("How do I make a dictionary in Python?", 'table = {"a": 1}'),
    ("How do I write a loop in Python?", "for value in values:\n    print(value)"),
    ("How do I catch an error in Python?", "try:\n    run()\nexcept ValueError:\n    pass"),
    ("How do I write a class in Python?", "class Thing:\n    pass"),
]
FACTS = [
    ("What is the opposite of war?", "Peace"), ("What is the opposite of north?", "South"),
    ("What is the opposite of east?", "West"), ("What is the opposite of old?", "New"),
    ("What is the opposite of large?", "Small"), ("What is the opposite of rich?", "Poor"),
    ("What is the opposite of public?", "Private"), ("What is the opposite of weak?", "Strong"),
    ("What is the opposite of true?", "False"), ("What is the opposite of first?", "Last"),
    ("Who makes the laws?", "Congress"), ("Who commands the army?", "President"), ("Who judges?", "Courts"),
    ("Who elects the president?", "People"), ("What do ships cross?", "Oceans"), ("What do farmers own?", "Land"),
    ("What do soldiers serve in?", "Army"), ("What do sailors serve in?", "Navy"), ("What ends a war?", "Peace"),
    ("What do citizens pay?", "Taxes"), ("What is coined from silver?", "Money"), ("What carries letters?", "Mail"),
    ("Which keyword defines a function?", "def"), ("Which keyword defines a class?", "class"),
    ("Which keyword ends a loop early?", "break"), ("Which keyword returns a value?", "return"),
    ("Which function writes text to the screen?", "print"), ("Which function tells a length?", "len"),
]  # fmt: skip
"""Questions that one word answers."""
MEANINGS = {
    "What is a treaty?": ("A treaty is an agreement between nations.", "An agreement between nations"),
    "What is a tariff?": ("A tariff is a tax on goods from abroad.", "A tax on imports"),
    "What is a veto?": ("With a veto the president refuses a law.", "A law refused"),
    "What is the Senate?": ("The Senate is a part of Congress.", "A part of Congress"),
    "What is a budget?": ("A budget is a plan of what is spent.", "A plan of spending"),
    "What is a debt?": ("A debt is money that is owed.", "Money that is owed"),
    "What is a citizen?": ("A citizen is a member of a nation.", "A member of a nation"),
    "What is a harvest?": ("A harvest is what the fields have given.", "What fields give"),
    "What is a bank?": ("A bank is a house that keeps money.", "It keeps money"),
    "What is a port?": ("A port is a place where ships land.", "Where ships land"),
    "What is a law?": ("A law is a rule that all must follow.", "A rule for all"),
    "What is a court?": ("A court is a place where judges decide.", "Where judges decide"),
    "What is an election?": ("An election is a choice made by voters.", "A choice by voters"),
    "What is an embargo?": ("An embargo is a stop of all trade.", "A stop of trade"),
    "What is a militia?": ("A militia is an army of citizens.", "An army of citizens"),
    "What is a pension?": ("A pension is money paid to the old.", "Money for the old"),
    "What is a list?": ("A list is a row of values.", "A row of values"),
    "What is a string?": ("A string is a piece of text.", "A piece of text"),
    "What is a loop?": ("A loop is code that runs again.", "Code that runs again"),
    "What is a module?": ("A module is a file of code.", "A file of code"),
    "What is a class?": ("A class is a kind of object.", "A kind of object"),
    "What is an argument?": ("An argument is a value for a function.", "A value for functions"),
}
"""What things are: in a whole sentence, and in at most five words."""
KINDS = {
    "colors": ["red", "blue", "green", "white", "black", "yellow"],
    "months": ["January", "March", "April", "June", "July", "December"],
    "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Sunday"],
    "metals": ["gold", "silver", "copper", "iron", "lead", "tin"],
    "states": ["Ohio", "Texas", "Maine", "Virginia", "Georgia", "Kansas"],
    "nations": ["France", "Spain", "Mexico", "Japan", "China", "Russia"],
    "cities": ["New York", "Boston", "Chicago", "Philadelphia", "Baltimore", "New Orleans"],
    "animals": ["horse", "cow", "sheep", "dog", "bear", "fox"],
    "crops": ["wheat", "corn", "cotton", "tobacco", "rice", "sugar"],
    "numbers": ["one", "two", "three", "five", "seven", "ten"],
    "virtues": ["honor", "courage", "patience", "justice", "truth", "faith"],
    "departments": ["State", "War", "Treasury", "Labor", "Justice", "Interior"],
    "types of Python": ["int", "str", "list", "dict", "tuple", "float"],
    "keywords of Python": ["def", "class", "return", "import", "if", "while"],
}
"""Kinds of things, with some of each."""
SYSTEM = "Be brief."

Turns = list[tuple[str, str]]


def president_in(year: int) -> str:
    """Who was president for most of a year, by the year in which each began."""
    if year in CLEVELAND_AGAIN:
        return "Grover Cleveland"
    return [name for name, since in PRESIDENTS if since <= year][-1]


def by_year() -> Iterator[Turns]:
    """Presidents by years; a year in which two were in office is asked about only after its change."""
    changes = {since for _, since in PRESIDENTS} | {1893, 1897}
    for year in range(1790, 2016):
        if year not in changes:
            yield [(f"Who was president in {year}?", f"{president_in(year)} was president in {year}.")]


def by_name() -> Iterator[Turns]:
    """What each president was, when, and who was not one."""
    for name, since in PRESIDENTS:
        yield [(f"When did {name} become president?", f"In {since}.")]
        yield [(f"Was {name} a president? Answer yes or no.", "Yes.")]
    for name in OTHERS:
        yield [(f"Was {name} a president? Answer yes or no.", "No.")]


def python() -> Iterator[Turns]:
    """Short functions and imports."""
    for what, name, arguments, result in OPERATIONS:
        code = f"def {name}({arguments}):\n    return {result}"
        for question in (f"Write a Python function that {what}.", f"Write a function in Python that {what}."):
            yield [(question, code)]
    for module in MODULES:
        yield [(f"How do I import {module} in Python?", f"import {module}")]
        yield [(f"Import {module}.", f"import {module}")]


def forms() -> Iterator[Turns]:
    """Answers in a form that was asked for."""
    for first in range(1, 10):
        for last in range(first + 2, min(first + 6, 11)):
            numbers = [str(number) for number in range(first, last + 1)]
            yield [(f"Count from {first} to {last}.", ", ".join(numbers))]
    for word in WORDS:
        yield [(f'Say "{word}".', word)]
        yield [(f'Say "{word}" twice.', f"{word} {word}")]
        yield [(f'Write "{word}" in upper case.', word.upper())]
        yield [(f'How many letters are in "{word}"? Answer with a number.', str(len(word)))]
    for question, answer in FACTS:
        yield [(f"{question} Answer with one word.", answer)]
        yield [(f"Answer with one word: {question}", answer)]
        yield [(f"{question} Answer in upper case.", answer.upper())]
    for what, (longer, shorter) in MEANINGS.items():
        yield [(f"{what} Answer in a whole sentence.", longer)]
        yield [(f"{what} Answer in at most five words.", shorter)]
    for name, since in PRESIDENTS:
        yield [(f"When did {name} become president? Answer with a number.", str(since))]
        if since not in TWO_BEGAN:
            yield [(f"Who became president in {since}? Answer in a whole sentence.", f"{name} did so in {since}.")]
            yield [(f"Who became president in {since}? Answer in at most five words.", name)]


def lists() -> Iterator[Turns]:
    """Three of a kind, and whether something is of a kind."""
    chance = random.Random(SEED)  # noqa: S311 (no secret)
    kinds = {**KINDS, "presidents": [name for name, _ in PRESIDENTS], "modules of Python": MODULES}
    for kind, members in kinds.items():
        for wording in ("Name three {}.", "Name three {}, separated by commas.", "Give me a list of three {}."):
            yield [(wording.format(kind), ", ".join(chance.sample(members, 3)))]
        for member in chance.sample(members, 3):
            yield [(f"Is {member} one of the {kind}? Answer yes or no.", "Yes.")]
        others = [name for other, names in KINDS.items() if other != kind for name in names]
        for member in chance.sample(others, 3):
            yield [(f"Is {member} one of the {kind}? Answer yes or no.", "No.")]


def singles() -> dict[str, list[Turns]]:
    """All conversations of one turn, by file; every tenth one is held out."""
    found: dict[str, list[Turns]] = {TRAIN: [[pair] for pair in BY_HAND], HELDOUT: []}
    for number, turns in enumerate([*by_year(), *by_name(), *python(), *forms(), *lists()]):
        found[HELDOUT if number % 10 == 3 else TRAIN].append(turns)
    return found


def conversations(file: str) -> list[list[dict[str, str]]]:
    """The conversations of a file; some have several turns, none of them held out, and some a system prompt."""
    chance, single = random.Random(SEED), singles()[file]  # noqa: S311 (no secret)
    several = [
        [turn for one in chance.sample(single, chance.randint(2, 3)) for turn in one] for _ in range(len(single) // 5)
    ]
    found = []
    for turns in single + several:
        messages = [{"role": "system", "content": SYSTEM}] if chance.random() < 0.1 else []
        for question, answer in turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        found.append(messages)
    return found


def content(file: str) -> str:
    """What is in a file, a conversation in each line."""
    return "".join(json.dumps({"messages": messages}) + "\n" for messages in conversations(file))


if __name__ == "__main__":
    for name in (TRAIN, HELDOUT):
        (FOLDER / name).write_text(content(name), encoding="utf-8")
        print(f"{FOLDER / name}: {len(conversations(name))} conversations")
