"""The bench of `tests/tools` finds what it is made to find. Without network: the tool is made up here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tools import bench, tool
from tools.comparing import FAILED_RESULTS, Difference, Part, Rule, Uncounted, compare, count
from tools.loopback import Asked, Call, Handed, Loopback, respond
from tools.tool import Conversation, NotToBeHad, Run, Tool

SAID: list[dict[str, Any]] = [
    {"role": "user", "content": "Name a city"},
    {"role": "assistant", "content": [{"type": "text", "text": "Oslo"}]},
    {"role": "user", "content": [{"type": "text", "text": "And its river?"}]},
]
NEXT: dict[str, Any] = {"role": "user", "content": "What comes next?"}


def request(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def text(role: str, said: str) -> Part:
    return Part(role, {"type": "text", "text": said})


def test_equal_requests_have_no_difference() -> None:
    """Whether a message is a text or a list with one is none."""
    found = compare("anthropic", request(*SAID), request(*SAID, NEXT), "What comes next?")
    assert (found.messages, found.differences, found.explained) == (3, [], Counter())


def test_a_message_that_was_left_out_is_found() -> None:
    found = compare("anthropic", request(SAID[0], SAID[2]), request(*SAID, NEXT), "What comes next?")
    assert found.differences == [Difference(None, text("assistant", "Oslo"))]


def test_a_message_too_many_is_found() -> None:
    found = compare("anthropic", request(*SAID), request(*SAID[:2], NEXT), "What comes next?")
    assert found.differences == [Difference(text("user", "And its river?"), None)]


def test_a_changed_text_is_found() -> None:
    changed = SAID[1] | {"content": "Bergen"}
    found = compare("anthropic", request(SAID[0], changed, SAID[2]), request(*SAID, NEXT), "What comes next?")
    assert found.differences == [Difference(text("assistant", "Bergen"), text("assistant", "Oslo"))]


def test_two_messages_in_the_other_order_are_found() -> None:
    found = compare("anthropic", request(SAID[1], SAID[0]), request(*SAID[:2], NEXT), "What comes next?")
    assert found.differences == [
        Difference(None, text("user", "Name a city")),
        Difference(text("user", "Name a city"), None),
    ]


def test_a_rule_explains_the_part_that_it_concerns_and_no_other() -> None:
    """It changes what the tool sent; what was imported has to be there without its help."""
    hint = Rule("hints", "made anew", lambda part: [] if part.content.get("text") == "(hint)" else [part])
    sent = request(SAID[0], {"role": "user", "content": "(hint)"}, SAID[1], NEXT)
    found = compare("anthropic", request(*SAID[:2]), sent, "What comes next?", [hint])
    assert (found.differences, found.explained) == ([], Counter({"hints": 1}))
    also_imported = compare("anthropic", sent, sent, "What comes next?", [hint])
    assert [each.imported for each in also_imported.differences] == [
        text("user", "(hint)"),
        text("user", "What comes next?"),
    ]


def test_a_rule_may_order_what_is_said_between_two_answers() -> None:
    """And nothing beyond an answer."""
    first = Rule("hints first", "sent so", rank=lambda part: "" if part.content.get("text") == "(hint)" else "later")
    hint = {"role": "user", "content": "(hint)"}
    found = compare("anthropic", request(SAID[0], hint), request(hint, SAID[0], NEXT), "What comes next?", [first])
    assert found.differences == [Difference(None, text("user", "(hint)")), Difference(text("user", "(hint)"), None)]
    both = first._replace(both=True)
    found = compare("anthropic", request(SAID[0], hint), request(hint, SAID[0], NEXT), "What comes next?", [both])
    assert found.differences == []
    found = compare("anthropic", request(*SAID, hint), request(hint, *SAID, NEXT), "What comes next?", [both])
    assert [each.sent for each in found.differences] == [text("user", "(hint)"), None]


def test_a_rule_may_know_of_parts_that_are_sent_twice() -> None:
    """The same part in a later turn is another one."""
    twice = Rule("twice", "sent so", repeats=lambda part: part.content.get("text") == "Name a city")
    found = compare("anthropic", request(*SAID), request(SAID[0], *SAID, NEXT), "What comes next?", [twice])
    assert (found.differences, found.explained) == ([], Counter({"twice": 1}))
    found = compare("anthropic", request(*SAID), request(*SAID, SAID[0], NEXT), "What comes next?", [twice])
    assert found.differences == [Difference(None, text("user", "Name a city"))]


def test_each_shape_has_its_parts() -> None:
    """A call that is missing is found in all of them."""
    call = {"id": "c", "type": "function", "function": {"name": "sh", "arguments": "{}"}}
    chat = [
        {"role": "system", "content": "Be brief."},
        SAID[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    found = compare("openai-chat", request(SAID[0]), request(*chat, NEXT), "What comes next?")
    assert found.differences == [
        Difference(None, text("assistant", "")),
        Difference(None, Part("assistant", {"tool_call": call})),
    ]
    item = {"type": "function_call", "call_id": "c", "name": "sh", "arguments": "{}"}
    found = compare("openai-responses", {"input": [SAID[0]]}, {"input": [SAID[0], item, NEXT]}, "What comes next?")
    assert found.differences == [Difference(None, Part("", item))]
    part = {"functionCall": {"name": "sh", "args": {}}}
    said, then = {"role": "user", "parts": [{"text": "Go"}]}, {"role": "user", "parts": [{"text": "What comes next?"}]}
    sent = {"contents": [said, {"role": "model", "parts": [part]}, then]}
    assert compare("gemini", {"contents": [said]}, sent, "What comes next?").differences == [
        Difference(None, Part("model", part))
    ]


def asked(number: int, usage: Handed, **body: Any) -> Asked:
    return Asked(number, "/v1/messages", body, "Oslo", None, usage)


def test_counts_are_those_of_the_requests_that_count() -> None:
    requests = [
        asked(1, Handed(10, 4, 2), tools=[{}]),
        asked(2, Handed(5, 1, 1)),
        asked(3, Handed(7, 0, 3), tools=[{}]),
    ]
    titles = Uncounted("titles", "written nowhere", lambda each: not each.has_tools)
    right = count(requests, Handed(17, 4, 5), [titles])
    assert (right.is_right, right.skipped) == (True, Counter({"titles": 1}))
    assert not count(requests, Handed(17, 4, 4), [titles]).is_right
    assert not count(requests, Handed(17, 4, 5)).is_right


class Parrot(Tool):
    """A made-up tool with files of Claude Code's form. What it does not write is `faults`."""

    name = "parrot"
    package = "parrot"
    command = "parrot"
    folder = "said"
    shape = "anthropic"

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        self._said: list[dict[str, Any]] = []
        self._written: list[dict[str, Any]] = []

    def configure(self, run: Run) -> None:
        (run.home / self.folder).mkdir()

    def converse(self, run: Run) -> list[Conversation]:
        self._say(run, "Name a city")
        self._say(run, "And its river?")
        return [Conversation("turns", "parrot-1", lambda prompt: self._say(run, prompt))]

    def _say(self, run: Run, prompt: str) -> None:
        self._said.append({"role": "user", "content": prompt})
        answer = run.server.answer("/v1/messages", {"messages": list(self._said), "tools": [{"name": "sh"}]})
        self._said.append({"role": "assistant", "content": answer.text})
        usage = {
            "input_tokens": answer.usage.input - answer.usage.cached,
            "cache_read_input_tokens": answer.usage.cached,
            "output_tokens": answer.usage.output + ("count" in self.faults),
        }
        said = {"role": "assistant", "content": "Bergen" if "text" in self.faults else answer.text}
        self._write(run, "user", {"role": "user", "content": prompt})
        if "message" not in self.faults:
            self._write(run, "assistant", said | {"id": f"m{answer.number}", "model": "p", "usage": usage})

    def _write(self, run: Run, type: str, message: dict[str, Any]) -> None:
        above = self._written[-1]["uuid"] if self._written else None
        line = {"type": type, "uuid": f"0000000{len(self._written)}", "parentUuid": above, "sessionId": "parrot-1"}
        self._written.append(line | {"message": message, "timestamp": "2026-01-02T03:04:05.678Z"})
        (run.home / self.folder / "parrot-1.jsonl").write_text(
            "".join(json.dumps(each) + "\n" for each in self._written)
        )


def measured(tmp_path: Path, *faults: str) -> bench.Result:
    return bench.measure(Parrot(*faults), tmp_path / "parrot", tmp_path / "home", "1.2")


def test_a_tool_that_writes_what_it_sends_has_no_difference(tmp_path: Path) -> None:
    result = measured(tmp_path)
    assert (result.unexplained, bench.details(result)) == (0, [])
    assert bench.table([result]).splitlines()[-1] == "| parrot | 1.2 | 1: turns | 4 | 0 | none | right |"
    assert bench.as_json(result)["conversations"] == [
        {"about": "turns", "fault": None, "messages": 4, "differences": []}
    ]


def test_a_rule_is_reported_with_its_reason(tmp_path: Path) -> None:
    def shouted(part: Part) -> list[Part]:
        return [text(part.role, part.content["text"].upper())]

    class Shouting(Parrot):
        rules = (Rule("capitals", "sent so", shouted, both=True), Rule("unused", "never"))
        uncounted = (Uncounted("all", "written nowhere", lambda _: True),)

    result = bench.measure(Shouting(), tmp_path / "parrot", tmp_path / "home")
    assert bench.reasons(result) == {"all": "written nowhere", "capitals": "sent so"}
    assert bench.as_json(result)["explained"] == [
        {"rule": "all", "reason": "written nowhere", "times": 3},
        {"rule": "capitals", "reason": "sent so", "times": 4},
    ]


@pytest.mark.parametrize(
    ("fault", "differences", "is_right"), [("message", 2, False), ("text", 2, True), ("count", 0, False)]
)
def test_what_is_written_wrong_is_found(fault: str, differences: int, is_right: bool, tmp_path: Path) -> None:
    result = measured(tmp_path, fault)
    (turns,) = result.conversations
    assert turns.comparison is not None
    assert (len(turns.comparison.differences), result.counted.is_right) == (differences, is_right)
    assert result.unexplained == differences + (not is_right)
    assert bench.details(result) != []


def test_a_conversation_that_is_not_imported_is_found(tmp_path: Path) -> None:
    class Forgetful(Parrot):
        def _write(self, run: Run, type: str, message: dict[str, Any]) -> None:
            pass

    result = bench.measure(Forgetful(), tmp_path / "parrot", tmp_path / "home")
    assert [each.fault for each in result.conversations] == ["session parrot-1 was not imported"]
    assert result.unexplained == 2  # that, and its counts


def test_a_tool_that_cannot_be_had_is_skipped_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Nowhere(Parrot):
        def install(self, place: Path) -> Path:
            raise NotToBeHad(f"no registry for {place.name}")

    monkeypatch.setattr(bench, "tools", lambda: {"parrot": Nowhere()})
    assert bench.main(["--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "SKIPPED parrot: no registry for parrot\n"
    assert bench.main(["--dir", str(tmp_path), "finch"]) == 2


def test_every_tool_has_its_interface() -> None:
    found = bench.tools()
    assert {name: tool.name for name, tool in found.items()} == {name: name for name in found}


def test_keys_are_typed_into_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a program that does not end when it is asked to is ended."""
    monkeypatch.setattr(tool, "_START_S", 1)
    monkeypatch.setattr(tool, "_QUIET_S", 4)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntrap '' TERM HUP\necho ready $1\nread said\necho it said $said\nsleep 60 & wait\n")
    program.chmod(0o755)
    server = Loopback()
    shown = Run(program, tmp_path / "home", server).type(["now"], ["hello\r"])
    server._server.server_close()
    assert [line for line in shown.splitlines() if "hello" not in line or "said" in line] == [
        "ready now",
        "it said hello",
    ]


def test_a_prompt_can_ask_for_any_call() -> None:
    """And a request without tools is answered by a text."""
    server, body = Loopback(), {"messages": [{"role": "user", "content": 'USE Agent {"prompt": "Count"}'}]}
    assert server.answer("", body | {"tools": [{"name": "Agent"}]}).call == Call("Agent", {"prompt": "Count"})
    assert server.answer("", body).text == "Answer 2."
    answer, kind = respond(server, "/v1/messages", body)
    assert (json.loads(answer)["content"], kind) == ([{"type": "text", "text": "Answer 3."}], "application/json")
    server._server.server_close()


def test_a_failed_result_may_say_so() -> None:
    """Of the role of a tool only, and on both sides."""
    result: dict[str, Any] = {"role": "tool", "tool_call_id": "c", "content": "No such file"}
    answer: dict[str, Any] = {"role": "assistant", "content": "Error: that is odd"}
    mine = request(result | {"content": "Error: No such file"}, answer)
    found = compare("openai-chat", mine, request(result, answer, NEXT), "What comes next?", [FAILED_RESULTS])
    assert (found.differences, found.explained) == ([], Counter({"failed results": 1}))
