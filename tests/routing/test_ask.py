"""What of a prompt is asked: by form alone, whatever is pasted around it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.routing import ask_sentences, segments
from semroute.routing.ask import MAX_CHARS, PLAIN_CHARS, find_ask
from semroute.routing.ask_words import as_matched
from semroute.routing.segments import SIDE_CHARS, cut

LETTER = (
    "Hi team,\n\nour order 88213 should have been here last Thursday. Please cancel my order and send me a refund.\n\n"
    "Best regards,\nDana Whitfield"
)
REPORT = (
    "The council voted on Tuesday to close the old bridge. Shop owners fear for their trade.\n\nWork begins in March. "
    "Write to the mayor if you disagree. The fund holds two million euros, and more may come from the province."
)
CODE = "def total(rows):\n    result = 0\n    for row in rows:\n        result += row.price\n    return reslt"
LOG = "2026-11-02 08:14:09 WARN connection lost\n2026-11-02 08:14:12 ERROR could not connect: timeout"
TABLE = "| month | orders |\n|---|---|\n| May | 310 |\n| June | 295 |"
TALK = "Anna: Can you write a poem?\nBen: I would rather not.\nAnna: Then solve 3x = 9.\nBen: Three."
MATERIALS = {"letter": LETTER, "report": REPORT, "code": CODE, "log": LOG, "table": TABLE, "talk": TALK}
ASK = "Please summarise the following in two sentences."
SHAPES = {
    "before": f"{ASK}\n\n{{}}",
    "behind": f"{{}}\n\n{ASK}",
    "fenced": f"{ASK}\n\n```\n{{}}\n```",
    "fenced before it": f"```\n{{}}\n```\n{ASK}",
    "tagged": f"<document>\n{{}}\n</document>\n\n{ASK}",
    "labelled": f"{ASK}\n\nText:\n{{}}",
    "greeted": f"Hi, I need some help here.\n\n{{}}\n\n{ASK}",
    "context and question": f"Context:\n{{}}\n\nQuestion: {ASK}",
}


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_ask_is_found_around_any_material(shape: str, material: str) -> None:
    prompt = SHAPES[shape].format(MATERIALS[material])
    found = find_ask(prompt)
    assert [prompt[start:end].strip() for start, end in found.spans] == [ASK]
    assert len(found.matched) == 1 and found.matched[0] == "Please summarise in two sentences"
    assert len(found.matched[0]) < 70


JSON = '{\n  "orders": [\n    {"id": 1, "total": 54.0},\n    {"id": 2, "total": 12.5}\n  ],\n  "paid": true\n}'
SQL = "SELECT c.name, SUM(o.total) AS spent\nFROM customers c\nLEFT JOIN orders o ON o.customer = c.id\nGROUP BY c.id;"


@pytest.mark.parametrize("wrap", ["```\n{}\n```", "<input>\n{}\n</input>", "> {}", '"{}"'])
@pytest.mark.parametrize(("material", "noun"), [(JSON, "data"), (SQL, "code"), (CODE, "code"), (REPORT, "")])
def test_the_noun_is_that_of_what_is_enclosed(material: str, noun: str, wrap: str) -> None:
    inside = material.replace("\n", "\n> ") if wrap.startswith(">") else material
    found = find_ask(
        "What is odd about this?\n\n" + wrap.format(inside.replace('"', "'") if wrap[0] == '"' else inside)
    )
    assert found.matched == (f"What is odd about this {noun}".rstrip() + "?",)


@pytest.mark.parametrize(
    ("ask", "matched"),
    [
        ("What does the text below boil down to?", "What does this text boil down to?"),  # a verb for work on texts
        ("Is the following even legal?", "Is this even legal?"),
        ("Is the text below positive or negative?", "Is this positive or negative?"),
        ("Could you walk me through this piece by piece?", "Could you walk me through this piece by piece?"),
        ("Put this text in simpler words.", "Put this text in simpler words"),
        ("Translate the text below into French.", "Translate into French"),
    ],
)
def test_a_question_keeps_its_grammar(ask: str, matched: str) -> None:
    assert find_ask(f"{ask}\n\n{REPORT}").matched == (matched,)


@pytest.mark.parametrize(
    "ask",
    [
        "What are the key takeaways here?",
        "Which towns are named here?",
        "Can you tighten up the wording? Keep my tone.",
    ],
)
def test_words_that_only_a_text_has_point_at_one(ask: str) -> None:
    for prompt in (f"{ask} {REPORT}", f"{ask}\n\n{REPORT}", f"{REPORT}\n\n{ask}"):
        assert find_ask(prompt).text in (ask, ask.removesuffix(" Keep my tone."))


@pytest.mark.parametrize(
    "opening",
    [
        "Hi there, hope you can help me.",
        "Hi, I was hoping somebody could help me with something.",
        "Good morning, I wonder if you can help me with a small task.",
        "Hallo, kannst du mir bitte helfen?",
        "Bonjour, pouvez-vous m'aider ?",
        "Hola, \u00bfme puedes ayudar?",
        "Ciao, puoi aiutarmi?",
    ],
)
def test_a_call_for_help_is_not_the_ask(opening: str) -> None:
    for ask in ("Write unit tests for this.", "Why does it crash?"):
        assert find_ask(f"{opening}\n\n{CODE}\n\n{ask}").matched == find_ask(f"{CODE}\n\n{ask}").matched
    assert find_ask(f"{opening} {ASK}\n\n{REPORT}").matched == ("Please summarise in two sentences",)


DIFF = (
    "diff --git a/app.go b/app.go\n--- a/app.go\n+++ b/app.go\n@@ -10,6 +10,9 @@ func main() {\n"
    " \tmux := http.NewServeMux()\n+\tgo func() {\n+\t\tcount++\n+\t}()\n-\tcount++\n \tmux.Handle(index)"
)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_patch_is_code(shape: str) -> None:
    found = find_ask(SHAPES[shape].replace(ASK, "Write unit tests for this.").format(DIFF))
    assert found.matched == ("Write unit tests for this code",)
    assert "app.go" not in found.text


def test_the_verb_polish_is_no_language() -> None:
    assert find_ask(f"Polish it for me.\n\n{LETTER}").matched == ("Polish this email for me",)
    assert find_ask(f"Please polish this.\n\n{CODE}").matched == ("Please polish this code",)
    assert find_ask(f"Translate this into Polish.\n\n{REPORT}").matched == ("Translate into Polish",)


def test_that_and_it_do_not_always_point_at_a_material() -> None:
    sentence = "A team has recorded whales that sing in winter, far from where they breed"
    assert as_matched(sentence, "text") == sentence
    assert as_matched("Why does that crash?", "code") == "Why does that code crash?"
    assert as_matched("Nice weather, isn't it?", "email") == "Nice weather, isn't it?"
    assert as_matched("Why doesn't it work?", "code") == "Why doesn't this code work?"
    assert as_matched("How can I make this faster?", "code") == "How can I make this code faster?"
    assert as_matched("Speed it up pls", "code") == "Speed this code up pls"


def test_a_request_in_the_form_of_a_question_keeps_the_noun_of_its_material() -> None:
    assert as_matched("Can you clean it up?", "text") == "Can you clean this text up?"
    assert as_matched("Is the text below true?", "text") == "Is this true?"


@pytest.mark.parametrize("verb", ["Walk me through", "Catch me up on", "Deduplicate", "Clarify", "Rework", "Itemise"])
def test_more_imperatives_are_known(verb: str) -> None:
    assert find_ask(f"{verb} this thread. {TALK}").text == f"{verb} this thread."


@pytest.mark.parametrize("form", ["Answer in plain text.", "Respond with JSON only.", "Please reply in one sentence."])
def test_the_form_of_the_answer_is_not_the_ask(form: str) -> None:
    for ask, material in (("Which month was the best?", TABLE), ("How many orders came?", LOG), ("Who is it?", LETTER)):
        found = find_ask(f"{ask} Be concise.\n\n{material}\n\n{form}")
        assert found.matched[0].startswith(ask[:6])
    assert find_ask(f"{LETTER}\n\n{form}").text.endswith(form)


def test_a_place_is_no_text() -> None:
    prompt = "Hi, I need some help here.\n\n" + REPORT + "\n\nIs this legal?"
    assert find_ask(prompt).matched == ("Is this legal?",)


@pytest.mark.parametrize(
    "last", ["Can you do that?", "Is that possible?", "Can you help me with that?", "Would it work?"]
)
@pytest.mark.parametrize(
    "ask", ["Which towns are named here?", "Make it sound friendlier.", "Summarise the text below."]
)
def test_a_last_line_that_asks_again_is_not_the_ask(ask: str, last: str) -> None:
    found = find_ask(f"{ask}\n\n{REPORT}\n\n{last}")
    assert found.text.startswith(ask)
    assert len(found.matched) == 1 and found.matched[0].split()[0] == ask.split()[0]


def test_what_only_asks_for_help_is_the_ask_where_nothing_else_is() -> None:
    assert find_ask(f"Can you help me with this?\n\n{CODE}").text == "Can you help me with this?"


def test_choices_after_a_colon_belong_to_the_ask() -> None:
    choices = "Tag this with one of these topics: sport, politics or weather"
    assert find_ask(f"{choices}\n\n{REPORT}").matched == (choices.replace(" this", "", 1),)
    for line in ("Anna: So, are we agreed?", "SELECT c.name, SUM(o.total) AS spent", "[10:02] mika: is it down?"):
        found = find_ask(f"Write a title for this: {line}\n{TALK}")
        assert found.matched == ("Write a title for this conversation",), line


def test_a_quoted_question_below_a_sentence_is_not_asked() -> None:
    quote = "On Tue, 3 Nov, Oskar wrote:\n> Can we move the review to Friday? I travel.\n> The numbers are not in."
    assert find_ask(f"Invent a sequel to the following.\n\nHere it is: {quote}\n\nOk.").text.startswith("Invent")


@pytest.mark.parametrize("material", MATERIALS)
def test_a_quote_is_material(material: str) -> None:
    for quoted in ("> " + MATERIALS[material].replace("\n", "\n> "), f'"{MATERIALS[material]}"'):
        assert find_ask(f"{ASK}\n\n{quoted}").text == ASK


@pytest.mark.parametrize(
    "prompt",
    [
        "why was I charged twice this month",
        "Hi, I bought the blender three weeks ago and it already stopped working. What are my options?",
        "From this job ad return only: title, salary, location, remote yes/no.",
        "what does 'carpe diem' mean",
        "why was I charged <b>twice</b>?",
        'is "affect" or "effect" right here, and why',
        "",
        "   ",
        "?",
    ],
)
def test_a_short_prompt_without_a_material_is_asked_as_it_stands(prompt: str) -> None:
    found = find_ask(prompt)
    assert (found.text, found.matched, found.spans) == (prompt, (prompt,), ())


@pytest.mark.parametrize(
    ("prompt", "matched"),
    [
        (f"Why does this crash?\n\n{CODE}", "Why does this code crash?"),
        (f"Fix this\n\n{CODE}", "Fix this code"),
        (f"Fix this:\n\n{REPORT}", "Fix this text"),
        (f"What is wrong here, and what does it mean?\n\n{LOG}", "What is wrong here, and what does this log mean?"),
        (f"Reply to this, please.\n\n{LETTER}", "Reply to this email, please"),
        (f"Translate this into French.\n\n{CODE}", "Translate into French"),
    ],
)
def test_an_ask_names_what_it_points_at(prompt: str, matched: str) -> None:
    assert find_ask(prompt).matched == (matched,)


def test_a_word_that_names_something_is_left_alone() -> None:
    for text in ("Explain this function", "Why is the sky blue?", "Tell me about that old bridge", ""):
        assert as_matched(text, "code") == text


@pytest.mark.parametrize(
    "prompt",
    [
        f"Translate the text below into Spanish. Then write a short poem about it.\n\n{REPORT}",
        f"1. Translate the text below into Spanish.\n2. Write a short poem about it.\n\n```\n{LETTER}\n```",
        f"- Translate the text below into Spanish\n- Write a short poem about it\n\n<text>\n{TALK}\n</text>",
    ],
)
def test_several_asks_are_told_apart(prompt: str) -> None:
    first, second = find_ask(prompt).matched
    assert "into Spanish" in first and "poem" in second


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("First explain the theorem, then write a proof.", ("explain the theorem", "write a proof")),
        ("Write a haiku about rain. Then translate it to French.", ("Write a haiku about rain", "translate to French")),
        ("Summarise the mail and then draft an answer", ("Summarise the mail", "draft an answer")),
        ("1. Translate this to German\n2. Write a poem\n\nThe sea is blue.", ("Translate to German", "Write a poem")),
        (
            f"Do these things:\n- summarise the mail\n- draft an answer\n\n{LETTER}",
            ("summarise the mail", "draft an answer"),
        ),
        (f"{REPORT}\n\n- summarise this\n- list the dates", ("summarise this text", "list the dates")),
    ],
)
def test_asks_in_a_row_are_told_apart(prompt: str, asks: tuple[str, ...]) -> None:
    assert find_ask(prompt).matched == asks


@pytest.mark.parametrize(
    ("prompt", "ask"),
    [
        ("Translate this to German:\n\nHi all, the plan:\n\n- write the report\n- fix the bug", "Translate to German"),
        ("Summarise the mail below.\n\nPlease do by May:\n\n1. Draft a plan\n2. Cut it", "Summarise the mail below"),
        (
            "- write the report\n- fix the bug\n\nTranslate the list above to German.",
            "Translate the list above to German",
        ),
    ],
)
def test_a_list_in_the_material_is_not_asked(prompt: str, ask: str) -> None:
    (matched,) = find_ask(prompt).matched
    assert ask in matched


def test_a_question_in_the_material_does_not_hide_a_list_of_asks() -> None:
    prompt = "Do these things:\n- summarise the mail\n- draft an answer\n\nHi Ann, can we move the meeting?"
    assert find_ask(prompt).matched == ("summarise the mail", "draft an answer")


@pytest.mark.parametrize(
    "prompt",
    [
        "Read the report and then summarise it",
        "I ate and then slept.",
        "go to the shop, then tell me the price",
        "Translate to French, also keep the tone",
        "Summarise my day:\n- wrote a report\n- fixed a bug",
        "Fix the grammar. Make it shorter.",
    ],
)
def test_a_step_on_the_way_is_no_ask_of_its_own(prompt: str) -> None:
    assert len(find_ask(prompt).matched) == 1


def test_how_an_answer_should_be_is_no_ask_of_its_own() -> None:
    found = find_ask(f"Summarise the text below. Keep it under 100 words. Return only JSON.\n\n{REPORT}")
    assert len(found.matched) == 1
    assert find_ask(f"Fix the code below. Explain your reasoning step by step.\n\n{CODE}").matched[0].startswith("Fix")


def test_what_templates_write_is_not_the_users() -> None:
    prompt = (
        "Use the following pieces of context to answer the question at the end. If you don't know the answer, just say "
        f"that you don't know.\n\n{REPORT}\n\nQuestion: how do volcanoes erupt?\nHelpful Answer:"
    )
    assert find_ask(prompt).text == "how do volcanoes erupt?"
    assert find_ask(f"<source>{REPORT}</source>\n<user_query>\nhow do volcanoes erupt?\n</user_query>").text == (
        "how do volcanoes erupt?"
    )


def test_own_words_beside_a_fence_belong_to_the_ask() -> None:
    prompt = f"Rewrite the code below in Go:\n```python\n{CODE}\n```\nIt must use at most 1 MB, without locks."
    assert "without locks" in find_ask(prompt).text
    assert "reslt" not in find_ask(prompt).text


def test_a_long_prompt_without_a_material_is_matched_by_what_tells_most() -> None:
    story = "It was late. " * 60 + "The pump failed again and nobody knew why."
    found = find_ask(story)
    assert found.text == story
    assert len(found.matched[0]) <= MAX_CHARS
    assert "pump failed" in found.matched[0]
    assert len(find_ask("word " * 5000).matched[0]) <= MAX_CHARS


FORMS = st.sampled_from(
    [
        *MATERIALS.values(),
        *(
            ASK,
            "```",
            "~~~\n",
            "<a>",
            "</a>",
            '"',
            "'",
            "“",
            "> ",
            "\n",
            "\n\n",
            "Text:",
            "Question: ",
            "---",
            "{",
            "[",
        ),
        *(
            "a,b,c",
            "\t",
            "From: me\n",
            "Hi,\n",
            "Thanks,\n",
            "Ann: hi\n",
            "你好。",
            "  ",
            "x" * 500,
            "1. ",
            "\r\n",
            "\0",
        ),
    ]
)
PROMPTS = st.lists(FORMS | st.text(max_size=12), max_size=30).map("".join)


@given(PROMPTS, st.integers(1, 60))
def test_segments_lose_no_character(text: str, times: int) -> None:
    prompt = text * times
    pieces = cut(prompt)
    assert "".join(prompt[one.start : one.end] for one in pieces) == prompt
    assert all(one.start < one.end for one in pieces)


@given(PROMPTS)
def test_an_ask_stands_in_its_prompt(prompt: str) -> None:
    found = find_ask(prompt)
    assert all(0 <= start < end <= len(prompt) for start, end in found.spans)
    assert found.matched and (found.text in prompt or found.spans)
    assert all(len(text) <= max(PLAIN_CHARS, MAX_CHARS + 10) + 20 for text in found.matched)


@pytest.mark.parametrize(
    "piece", ["a\n", "<a>", '"a ', "> ", "a: ", "```\n", "{\n", "- a\n", "From: \n", "Hi,\n", "Do it. ", "\t"]
)
def test_work_is_bounded_whatever_a_prompt_holds(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines and sentences are looked at one by one: as many of them for a prompt ten times as long."""

    def steps(length: int) -> int:
        count = 0

        def counted(name: str, owner: object) -> None:
            original = getattr(owner, name)

            def step(*args: object) -> object:
                nonlocal count
                count += 1
                return original(*args)

            monkeypatch.setattr(owner, name, step)

        counted("_line", segments)
        counted("_block", segments)
        counted("_form", ask_sentences)
        find_ask(piece * (length // len(piece)))
        monkeypatch.undo()
        return count

    assert steps(20 * SIDE_CHARS) <= 1.1 * steps(4 * SIDE_CHARS) + 50
    assert steps(20 * SIDE_CHARS) < 1500


def test_a_line_of_many_labels_is_read() -> None:
    """Reading label by label, as deep as there are labels, would raise `RecursionError`."""
    prompt = "ask:" * 1250
    assert "".join(prompt[one.start : one.end] for one in cut(prompt)) == prompt
    assert find_ask(prompt).matched


@pytest.mark.parametrize("piece", ["!", "?!", ".", "…"])
def test_a_run_of_marks_takes_time_in_proportion_to_its_length(piece: str) -> None:
    def cpu_s(length: int) -> float:
        prompt = piece * (length // len(piece)) + "x"
        begun = time.process_time()
        segments.cut(prompt)
        return time.process_time() - begun

    short = min(cpu_s(SIDE_CHARS // 25) for _ in range(9))
    assert min(cpu_s(SIDE_CHARS) for _ in range(3)) < 75 * short


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("Why?! Tell me.", ["Why?! ", "Tell me."]),
        ('He said "no!" Then he left.', ['He said "no!" ', "Then he left."]),
        ("はい。!! Go on.now.", ["はい。!! ", "Go on.now."]),
        ("一。二。three", ["一。", "二。", "three"]),
        ("一\uff01二\uff1f three", ["一\uff01", "二\uff1f ", "three"]),
        ("open http://host/a?b=c!d now", ["open http://host/a?b=c!d now"]),
    ],
)
def test_a_sentence_ends_with_all_its_marks(line: str, sentences: list[str]) -> None:
    assert [line[one.start : one.end] for one in cut(line)] == sentences
