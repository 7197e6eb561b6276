"""What text is matched, over the turns of a conversation."""

from __future__ import annotations

from semroute.messages import ChatRequest, Image, Message, Text, ToolCall, ToolResult
from semroute.routing.facts import read_facts


def user(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


ASKED = user("is my order on its way?")
CALLED = Message(role="assistant", parts=(ToolCall(id="1", name="track"),))


def request(*messages: Message) -> ChatRequest:
    return ChatRequest(id="x", messages=messages)


def test_the_last_user_turn_is_matched_unless_the_conversation_is() -> None:
    turns = request(user("hello"), Message(role="assistant", parts=(Text(text="hi"),)), ASKED)
    assert read_facts(turns).text == "is my order on its way?"
    both = read_facts(turns, "conversation")
    assert (both.text, both.last_turn) == ("hello\nis my order on its way?", "is my order on its way?")


def test_a_tool_result_keeps_the_turn_before_it() -> None:
    openai = Message(role="tool", parts=(ToolResult(id="1", text="it left Leeds"),))
    anthropic = Message(role="user", parts=(ToolResult(id="1", text="it left Leeds"), Text(text="<reminder>be brief")))
    alone = read_facts(request(ASKED)).text
    for result in (openai, anthropic):
        assert read_facts(request(ASKED, CALLED, result)).text == alone
        assert read_facts(request(ASKED, CALLED, result, CALLED, result)).text == alone
    assert read_facts(request(ASKED, CALLED, openai, user("thanks")), "last_user").text == "thanks"


def test_a_picture_in_a_tools_result_needs_a_model_that_sees() -> None:
    picture = Image(url="https://x/y.png")
    for part in (picture, ToolResult(id="1", media=(picture,))):
        assert read_facts(request(ASKED, CALLED, Message(role="user", parts=(part,)))).needs == ("vision",)


def test_nothing_said_is_nothing_to_match() -> None:
    assert read_facts(request(Message(role="system", parts=(Text(text="be kind"),)))).text == ""
