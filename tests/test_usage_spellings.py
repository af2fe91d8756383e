"""Usage objects in every spelling of the table: each token is counted once, and what is not understood is said."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import log_of, node
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import Session, Usage, open_store
from convtree._model.usage import is_known_usage, usage_of
from convtree._model.usage_spellings import SPELLINGS
from convtree.repair import repair, verify


class Counts(NamedTuple):
    """The tokens of an answer, each in one count only."""

    plain: int = 0  # of the prompt, neither read from a cache nor written to one
    read: int = 0
    written: int = 0
    text: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        return self.plain + self.read + self.written

    @property
    def output(self) -> int:
        return self.text + self.reasoning

    @property
    def total(self) -> int:
        return self.prompt + self.output


class Case(NamedTuple):
    """How a provider writes the counts. `lacks` are counts that its objects do not have."""

    write: Callable[[Counts], dict[str, Any]]
    lacks: tuple[str, ...] = ()


def chat(count: Counts) -> dict[str, Any]:
    """Returns the usage of OpenAI chat."""
    return {
        "prompt_tokens": count.prompt,
        "completion_tokens": count.output,
        "total_tokens": count.total,
        "prompt_tokens_details": {"cached_tokens": count.read, "cache_write_tokens": count.written, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": count.reasoning, "accepted_prediction_tokens": 0},
    }


def gemini(count: Counts) -> dict[str, Any]:
    """Returns the usage of Gemini, with one token of the prompt from a tool of its own if there is any."""
    tool = min(count.plain, 1)
    return {
        "prompt_token_count": count.prompt - tool,
        "tool_use_prompt_token_count": tool,
        "cached_content_token_count": count.read,
        "candidates_token_count": count.text,
        "thoughts_token_count": count.reasoning,
        "total_token_count": count.total,
        "prompt_tokens_details": [{"modality": "TEXT", "token_count": count.prompt - tool}],
    }


def anthropic(count: Counts) -> dict[str, Any]:
    """Returns the usage of Anthropic, as Claude Code stores it."""
    return {
        "input_tokens": count.plain,
        "cache_creation_input_tokens": count.written,
        "cache_read_input_tokens": count.read,
        "cache_creation": {"ephemeral_5m_input_tokens": count.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": count.output,
        "output_tokens_details": {"thinking_tokens": count.reasoning},
        "server_tool_use": {"web_search_requests": 3},
        "service_tier": "standard",
    }


def pydantic_ai(count: Counts) -> dict[str, Any]:
    """Returns a RequestUsage of pydantic-ai."""
    return {
        "input_tokens": count.prompt,
        "cache_write_tokens": count.written,
        "cache_read_tokens": count.read,
        "output_tokens": count.output,
        "output_reasoning_tokens": count.reasoning,
        "input_audio_tokens": 0,
        "cache_audio_read_tokens": 0,
        "output_audio_tokens": 0,
        "details": {"reasoning_tokens": count.reasoning, "input_tokens": count.plain},
    }


def gemini_cli(count: Counts) -> dict[str, Any]:
    """Returns the tokens of Gemini CLI."""
    return {
        "input": count.prompt,
        "output": count.text,
        "cached": count.read,
        "thoughts": count.reasoning,
        "tool": 0,
        "total": count.total,
    }


def opencode(count: Counts) -> dict[str, Any]:
    """Returns the tokens of opencode."""
    cache = {"read": count.read, "write": count.written}
    return {"input": count.plain, "output": count.text, "reasoning": count.reasoning, "cache": cache}


def langchain(count: Counts) -> dict[str, Any]:
    """Returns the usage_metadata of LangChain."""
    return {
        "input_tokens": count.prompt,
        "output_tokens": count.output,
        "total_tokens": count.total,
        "input_token_details": {"cache_read": count.read, "cache_creation": count.written, "audio": 0},
        "output_token_details": {"reasoning": count.reasoning},
    }


CASES: dict[str, Case] = {
    "OpenAI chat": Case(chat),
    "DeepSeek": Case(
        lambda count: {
            "prompt_tokens": count.prompt,
            "completion_tokens": count.output,
            "total_tokens": count.total,
            "prompt_cache_hit_tokens": count.read,
            "prompt_cache_miss_tokens": count.plain,
            "completion_tokens_details": {"reasoning_tokens": count.reasoning},
        },
        ("written",),
    ),
    "DeepSeek, hits and misses only": Case(
        lambda count: {
            "prompt_cache_hit_tokens": count.read,
            "prompt_cache_miss_tokens": count.plain,
            "completion_tokens": count.output,
        },
        ("written",),
    ),
    "Mistral": Case(
        lambda count: {
            "prompt_tokens": count.prompt,
            "completion_tokens": count.output,
            "total_tokens": count.total,
            "prompt_audio_seconds": None,
        },
        ("read", "written"),
    ),
    "xAI, reasoning beside the completion": Case(lambda count: chat(count) | {"completion_tokens": count.text}),
    "LiteLLM": Case(
        lambda count: (
            chat(count)
            | {
                "prompt_tokens_details": {"cached_tokens": count.read, "cache_creation_tokens": count.written},
                "cache_read_input_tokens": count.read,
                "cache_creation_input_tokens": count.written,
            }
        )
    ),
    "Moonshot": Case(
        lambda count: {
            "prompt_tokens": count.prompt,
            "completion_tokens": count.output,
            "cached_tokens": count.read,
        },
        ("written",),
    ),
    "OpenAI Responses": Case(
        lambda count: {
            "input_tokens": count.prompt,
            "input_tokens_details": {"cached_tokens": count.read, "cache_write_tokens": count.written},
            "output_tokens": count.output,
            "output_tokens_details": {"reasoning_tokens": count.reasoning},
            "total_tokens": count.total,
        }
    ),
    "Codex": Case(
        lambda count: {
            "input_tokens": count.prompt,
            "cached_input_tokens": count.read,
            "output_tokens": count.output,
            "cache_write_tokens": count.written,
            "reasoning_output_tokens": count.reasoning,
            "total_tokens": count.total,
        }
    ),
    "Anthropic": Case(anthropic),
    "Anthropic, writes by lifetime": Case(
        lambda count: {
            "input_tokens": count.plain,
            "cache_read_input_tokens": count.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": count.written // 2,
                "ephemeral_1h_input_tokens": count.written - count.written // 2,
            },
            "output_tokens": count.output,
        }
    ),
    "Gemini": Case(gemini, ("written",)),
    "Gemini by REST": Case(
        lambda count: {
            "promptTokenCount": count.prompt,
            "cachedContentTokenCount": count.read,
            "candidatesTokenCount": count.text,
            "thoughtsTokenCount": count.reasoning,
            "totalTokenCount": count.total,
        },
        ("written",),
    ),
    "Gemini live": Case(
        lambda count: {
            "prompt_token_count": count.prompt,
            "response_token_count": count.text,
            "thoughts_token_count": count.reasoning,
        },
        ("read", "written"),
    ),
    "Gemini interactions": Case(
        lambda count: {
            "total_input_tokens": count.prompt,
            "total_cached_tokens": count.read,
            "total_output_tokens": count.text,
            "total_thought_tokens": count.reasoning,
            "total_tool_use_tokens": 0,
            "total_tokens": count.total,
        },
        ("written",),
    ),
    "ADK with LiteLLM, thoughts among the candidates": Case(
        lambda count: gemini(count) | {"candidates_token_count": count.output, "cache_creation_input_tokens": 0},
        ("written",),
    ),
    "ADK with Anthropic": Case(
        lambda count: gemini(count) | {"cache_creation_input_tokens": count.written},
    ),
    "Bedrock Converse": Case(
        lambda count: {
            "inputTokens": count.plain,
            "outputTokens": count.output,
            "totalTokens": count.total,
            "cacheReadInputTokens": count.read,
            "cacheWriteInputTokens": count.written,
            "cacheDetails": [{"ttl": "5m", "inputTokens": count.written}],
        }
    ),
    "Strands with OpenAI": Case(
        lambda count: {
            "inputTokens": count.prompt,
            "outputTokens": count.output,
            "totalTokens": count.total,
            "cacheReadInputTokens": count.read,
            "cacheWriteInputTokens": count.written,
        }
    ),
    "Claude Agent SDK by model": Case(
        lambda count: {
            "inputTokens": count.plain,
            "outputTokens": count.output,
            "cacheReadInputTokens": count.read,
            "cacheCreationInputTokens": count.written,
            "webSearchRequests": 2,
            "contextWindow": 200_000,
        }
    ),
    "Ollama": Case(
        lambda count: {
            "prompt_eval_count": count.prompt,
            "eval_count": count.output,
            "total_duration": 5_000_000,
            "prompt_eval_duration": 7,
            "eval_duration": 9,
        },
        ("read", "written"),
    ),
    "AI SDK 4": Case(
        lambda count: {
            "promptTokens": count.prompt,
            "completionTokens": count.output,
            "totalTokens": count.total,
        },
        ("read", "written"),
    ),
    "AI SDK 5": Case(
        lambda count: {
            "inputTokens": count.prompt,
            "outputTokens": count.output,
            "totalTokens": count.total,
            "reasoningTokens": count.reasoning,
            "cachedInputTokens": count.read,
        },
        ("written",),
    ),
    "AI SDK 5 with Gemini, thoughts in the total only": Case(
        lambda count: {
            "inputTokens": count.prompt,
            "outputTokens": count.text,
            "totalTokens": count.total,
            "reasoningTokens": count.reasoning,
        },
        ("read", "written"),
    ),
    "AI SDK 6": Case(
        lambda count: {
            "inputTokens": count.prompt,
            "inputTokenDetails": {
                "noCacheTokens": count.plain,
                "cacheReadTokens": count.read,
                "cacheWriteTokens": count.written,
            },
            "outputTokens": count.output,
            "outputTokenDetails": {"textTokens": count.text, "reasoningTokens": count.reasoning},
            "totalTokens": count.total,
            "reasoningTokens": count.reasoning,
            "cachedInputTokens": count.read,
            "raw": anthropic(count),
        }
    ),
    "AI SDK 6, from the provider": Case(
        lambda count: {
            "inputTokens": {
                "total": count.prompt,
                "noCache": count.plain,
                "cacheRead": count.read,
                "cacheWrite": count.written,
            },
            "outputTokens": {"total": count.output, "text": count.text, "reasoning": count.reasoning},
            "raw": chat(count),
        }
    ),
    "AI SDK 6, parts only": Case(
        lambda count: {
            "inputTokens": {"noCache": count.plain, "cacheRead": count.read, "cacheWrite": count.written},
            "outputTokens": {"text": count.text, "reasoning": count.reasoning},
        }
    ),
    "pydantic-ai": Case(pydantic_ai),
    "pydantic-ai, only what is not 0": Case(
        lambda count: {
            "input_tokens": count.prompt,
            "cache_read_tokens": count.read,
            "cache_write_tokens": count.written,
            "output_tokens": count.output,
        }
    ),
    "pydantic-ai, before 1.0": Case(
        lambda count: {
            "requests": 1,
            "request_tokens": count.prompt,
            "response_tokens": count.output,
            "total_tokens": count.total,
            "details": {"cached_tokens": count.read, "reasoning_tokens": count.reasoning},
        },
        ("written",),
    ),
    "LangChain": Case(langchain),
    "LangChain, writes by lifetime and a service tier": Case(
        lambda count: (
            langchain(count)
            | {
                "input_token_details": {
                    "priority_cache_read": count.read,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 0,
                    "ephemeral_1h_input_tokens": count.written,
                }
            }
        )
    ),
    "opencode": Case(opencode),
    "opencode, reasoning in the output": Case(
        lambda count: opencode(count) | {"output": count.output, "total": count.total}
    ),
    "Gemini CLI": Case(gemini_cli, ("written",)),
    "pi": Case(
        lambda count: {
            "input": count.plain,
            "output": count.output,
            "cacheRead": count.read,
            "cacheWrite": count.written,
            "reasoning": count.reasoning,
            "totalTokens": count.total,
        }
    ),
    "LM Studio": Case(
        lambda count: {
            "promptTokensCount": count.prompt,
            "predictedTokensCount": count.output,
            "totalTokensCount": count.total,
        },
        ("read", "written"),
    ),
    "Kimi CLI": Case(
        lambda count: {
            "input_other": count.plain,
            "output": count.output,
            "input_cache_read": count.read,
            "input_cache_creation": count.written,
        }
    ),
    "Continue": Case(
        lambda count: {
            "promptTokens": count.prompt,
            "completionTokens": count.output,
            "promptTokensDetails": {"cachedTokens": count.read, "cacheWriteTokens": count.written},
            "completionTokensDetails": {"reasoningTokens": count.reasoning},
        }
    ),
    "Cline": Case(
        lambda count: {
            "tokensIn": count.plain,
            "tokensOut": count.output,
            "cacheReads": count.read,
            "cacheWrites": count.written,
        }
    ),
    "Roo Code": Case(
        lambda count: {
            "apiProtocol": "openai",
            "tokensIn": count.prompt,
            "tokensOut": count.output,
            "cacheReads": count.read,
            "cacheWrites": count.written,
        }
    ),
    "Cohere": Case(
        lambda count: {
            "billed_units": {"input_tokens": count.plain, "output_tokens": count.text},
            "tokens": {"input_tokens": float(count.prompt), "output_tokens": float(count.output)},
            "cached_tokens": float(count.read),
        },
        ("written",),
    ),
    "Cohere, billed units": Case(
        lambda count: {"billed_units": {"input_tokens": count.prompt, "output_tokens": count.output}},
        ("read", "written"),
    ),
    "Microsoft Agent Framework": Case(
        lambda count: {
            "input_token_count": count.prompt,
            "output_token_count": count.output,
            "total_token_count": count.total,
            "cache_read_input_token_count": count.read,
            "cache_creation_input_token_count": count.written,
            "reasoning_output_token_count": count.reasoning,
            "openai.reasoning_tokens": count.reasoning,
        }
    ),
    "Microsoft Agent Framework with Anthropic": Case(
        lambda count: {
            "input_token_count": count.plain,
            "output_token_count": count.output,
            "anthropic.cache_creation_input_tokens": count.written,
            "cache_creation_input_token_count": count.written,
            "anthropic.cache_read_input_tokens": count.read,
            "cache_read_input_token_count": count.read,
        }
    ),
    "convtree": Case(
        lambda count: {
            "input_tokens": count.plain,
            "output_tokens": count.output,
            "cache_read_tokens": count.read,
            "cache_write_tokens": count.written,
            "cost": 0.0,
        }
    ),
    "LlamaIndex": Case(lambda count: {"id": "c", "model": "m", "usage": chat(count), "choices": [1, 2]}),
    "LangChain's response metadata": Case(lambda count: {"token_usage": chat(count), "model_name": "m-4"}),
    "Google ADK event": Case(lambda count: {"usage_metadata": gemini(count)}, ("written",)),
    "opencode message": Case(lambda count: {"tokens": opencode(count)}),
}

NUMBERS = st.integers(0, 2**30)
COUNTS = st.builds(Counts, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def expected(count: Counts) -> Usage:
    return Usage(
        input_tokens=count.plain,
        output_tokens=count.output,
        cache_read_tokens=count.read,
        cache_write_tokens=count.written,
    )


def as_texts(value: Any) -> Any:
    """Returns a value in which each number is a text."""
    if isinstance(value, Mapping):
        return {key: as_texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_texts(each) for each in value]
    return str(value) if isinstance(value, int | float) else value


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=10)  # of each of many providers
@given(count=COUNTS, beside=st.dictionaries(st.text(max_size=5).map("x_{}".format), JSON, max_size=3))
def test_each_token_is_counted_once(name: str, count: Counts, beside: dict[str, Any]) -> None:
    """Whatever the provider includes in its input and output. Unknown fields and numbers as texts change nothing."""
    case = CASES[name]
    count = count._replace(**dict.fromkeys(case.lacks, 0))
    usage = case.write(count)
    assert usage_of(usage) == expected(count)
    assert usage_of(beside | usage) == usage_of(usage | beside) == expected(count)
    assert usage_of(as_texts(usage)) == expected(count)
    assert is_known_usage(usage)


def test_usage_of_the_sdks_is_known() -> None:
    """Objects of the installed SDKs, as they dump themselves: the table has the names of their fields."""
    from anthropic.types import Usage as AnthropicUsage
    from google.genai.types import GenerateContentResponseUsageMetadata
    from openai.types import CompletionUsage
    from openai.types.responses import ResponseUsage

    count = Counts(plain=3, read=5, written=7, text=11, reasoning=13)
    no_writes = count._replace(written=0)
    assert usage_of(CompletionUsage.model_validate(chat(count)).model_dump()) == expected(count)
    responses = ResponseUsage.model_validate(CASES["OpenAI Responses"].write(count))
    assert usage_of(responses.model_dump()) == expected(count)
    told = AnthropicUsage.model_validate(anthropic(count) | {"server_tool_use": None})
    assert usage_of(told.model_dump()) == expected(count)
    metadata = GenerateContentResponseUsageMetadata.model_validate(gemini(no_writes) | {"prompt_tokens_details": None})
    assert usage_of(metadata.model_dump()) == expected(no_writes)
    assert usage_of(metadata.model_dump(by_alias=True, exclude_none=True)) == expected(no_writes)


def test_each_row_reads_its_own_keys() -> None:
    """Each alternative of input and output that the table lists is found, beside the keys that tell the row."""

    def put(usage: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
        for key in path[:-1]:
            usage = usage.setdefault(key, {})
        usage.setdefault(path[-1], value)

    for row in SPELLINGS:
        for paths in (*row.input, *row.output):
            usage: dict[str, Any] = {}
            put(usage, paths[0], 7)
            for told in (*row.one_of[:1], *row.all_of):
                put(usage, told[0], 0)
            assert (row.name, usage_of(usage).total_tokens) == (row.name, 7)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # a real answer of Anthropic, and the same one as other programs store it
        ({"input_tokens": 4, "cache_read_input_tokens": 900, "output_tokens": 30}, (4, 30, 900, 0)),
        ({"prompt_tokens": 904, "completion_tokens": 30, "cache_read_input_tokens": 900}, (4, 30, 900, 0)),
        ({"input_tokens": 904, "output_tokens": 30, "cache_read_tokens": 900, "details": {}}, (4, 30, 900, 0)),
        ({"inputTokens": 4, "outputTokens": 30, "totalTokens": 934, "cacheReadInputTokens": 900}, (4, 30, 900, 0)),
        # the cache cannot be a part of a smaller input
        ({"inputTokens": 4, "outputTokens": 30, "totalTokens": 34, "cachedInputTokens": 900}, (4, 30, 900, 0)),
        # without a total, the usual meaning
        ({"inputTokens": 904, "outputTokens": 30, "cacheReadInputTokens": 900}, (904, 30, 900, 0)),
        ({"inputTokens": 904, "outputTokens": 30, "cachedInputTokens": 900}, (4, 30, 900, 0)),
        # a total that fits nothing
        ({"inputTokens": 904, "outputTokens": 30, "cachedInputTokens": 900, "totalTokens": 1}, (4, 30, 900, 0)),
        # reasoning cannot be a part of a smaller output
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 5}},
            (9, 6, 0, 0),
        ),
        # more reasoning than output and more cache than input, in a spelling where only the cache may be beside it
        (
            {
                "input_token_count": 9,
                "output_token_count": 1,
                "cache_read_input_token_count": 10,
                "reasoning_output_token_count": 5,
            },
            (0, 1, 10, 0),
        ),
        # zeros in one spelling do not hide another one
        ({"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 9, "output_tokens": 2}, (9, 2, 0, 0)),
        ({"input_tokens": 9, "output_tokens": 2, "input_tokens_details": None}, (9, 2, 0, 0)),
        ({"prompt_tokens": "9", "completion_tokens": " 1.5e1 ", "total_tokens": "24"}, (9, 15, 0, 0)),
        ({"prompt_tokens": "1,000", "completion_tokens": "0x9", "cached_tokens": "-1"}, (0, 0, 0, 0)),
        ({"usage": {"usage": {"input": 1, "output": 2}}}, (1, 2, 0, 0)),
        ({"usage": {"usage": {"usage": {"input": 1}}}}, (0, 0, 0, 0)),
    ],
)
def test_what_neighbours_tell(usage: dict[str, Any], expected: tuple[int, int, int, int]) -> None:
    """The total, a part that is larger than its whole, and the keys beside it say what a number includes."""
    found = usage_of(usage)
    assert (
        found.input_tokens,
        found.output_tokens,
        found.cache_read_tokens,
        found.cache_write_tokens,
    ) == expected


def test_a_summary_that_the_provider_made_is_counted(session: Session) -> None:
    """Anthropic leaves it out of the other counts. It is paid for, and no part of the context that the answer saw."""
    summary = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, "cache_read_input_tokens": 7}
    message = {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000}
    usage = {"input_tokens": 23_000, "output_tokens": 1_000, "iterations": [summary, message, {"type": []}, None]}
    assert usage_of(usage) == Usage(input_tokens=203_000, output_tokens=4_500, cache_read_tokens=7)
    assert usage_of(usage, summaries=False) == Usage(input_tokens=23_000, output_tokens=1_000)
    assert usage_of({"input_tokens": 1, "iterations": [{"type": "compaction"}]}) == Usage(input_tokens=1)
    assert usage_of({"input_tokens": 1, "iterations": 7}) == Usage(input_tokens=1)
    huge = [{"type": "compaction", "input_tokens": 2**39}] * 2
    assert usage_of({"input_tokens": 1, "iterations": huge}) == Usage(input_tokens=1)
    session.append({"role": "assistant", "content": "a"}, usage=usage)
    assert session.build_context().count_tokens() == 24_000


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.5}, 0.5),
        ({"total_cost": "0.5"}, 0.5),
        ({"totalCost": 0.5}, 0.5),
        ({"cost_usd": 0.5}, 0.5),
        ({"costUSD": 0.5, "inputTokens": 1}, 0.5),
        ({"total_cost_usd": 0.5, "usage": {"input_tokens": 1}}, 0.5),
        ({"usage": {"input_tokens": 1, "cost": 5e-1}}, 0.5),
        ({"cost": {"input": 0.25, "output": 0.25, "cacheRead": 0, "cacheWrite": 0, "total": 0.5}}, 0.5),
        ({"cost": {"input_tokens_cost": 0.1, "total_cost": 0.5}}, 0.5),
        ({"cost": {"input": 0.25, "output": "0.25"}}, 0.5),
        ({"cost": None, "total_cost": 0.5}, 0.5),
        ({"cost": 0, "total_cost": 0.5}, 0.5),
        ({"cost": -1, "total_cost": True}, 0.0),
        ({"cost": {"total": "much"}}, 0.0),
        ({"cost": "1e999"}, 0.0),
    ],
)
def test_spellings_of_cost(usage: dict[str, Any], cost: float) -> None:
    """The first one in range, also beside a wrapper or in it."""
    assert usage_of(usage).cost == cost


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"anything": None, "more": {"inside": [None, {}]}},
        {"tokens_in": 0, "tokens_out": "0", "cached": False},
        {"is_byok": True, "service_tier": "standard"},
        {"input_tokens": 0, "output_tokens": 0, "server_tool_use": {"web_search_requests": 2}},
        {"cost": 0.5},
        {"cost": 0.5, "duration_ms": 900},
        {"output_tokens": 3, "tokens_of_a_new_kind": 9},
        {"output_tokens": "3"},
        {"tokens": {"input": 1}},
    ],
)
def test_known_usage(usage: dict[str, Any]) -> None:
    """Nothing that is understood is a finding, nor is nothing."""
    assert is_known_usage(usage)


UNKNOWN = [
    {"tokens_in": 7, "tokens_out": 8},
    {"tokensInside": "7"},
    {"nested": {"deep": [{"in": 1}]}},
    {"total_tokens": 120},
    {"input_tokens": -3},
    {"output_tokens": 2**63},
    {"input": "1,000", "output": "2,000"},
    {"cost": 0.5, "tokens_in": 7},
    {"cost": 0.5, "counts": {"tokens": {"in": 7}}},
    {"cache_read_input_tokens": 5},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 120},
    {"input_tokens": 0, "output_tokens": -1},
]


@pytest.mark.parametrize("usage", UNKNOWN)
def test_unknown_usage(usage: dict[str, Any]) -> None:
    """It says something, and counts as 0."""
    assert not is_known_usage(usage)
    assert usage_of(usage).total_tokens == 0


def test_usage_nested_deeply_is_read() -> None:
    """A hostile object is no reason to fail."""
    usage: dict[str, Any] = {"x": 1}
    for _ in range(100_000):
        usage = {"x": usage}
    assert not is_known_usage(usage)
    assert usage_of(usage) == Usage()


# --- where it is reported ---


def test_verify_reports_unknown_usage(tmp_path: Path) -> None:
    """With its place and its entry, for messages and summaries. It is no damage, and opening does not look for it."""
    path = tmp_path / "log.jsonl"
    odd, known = {"tokens_in": 7}, {"input_tokens": 7}
    lines = [
        node("b", "a", message={"role": "assistant"}, usage=odd),
        node("c", "b", message={"role": "assistant"}, usage=known),
        node("d", "c", "compaction", summary="s", first_kept_entry_id=None, usage=odd),
        node("e", "d", "branch_summary", summary="s", from_id=None, usage=odd),
        node("f", "e", message={"role": "assistant"}, usage={}),
        node("g", "f", message={"role": "assistant"}, usage={"input_tokens": None}),
    ]
    path.write_bytes(log_of(node("a", None), *lines))
    found = path.read_bytes().splitlines(keepends=True)
    starts = [sum(map(len, found[:at])) for at in range(len(found))]
    report = verify(path)
    facts = [(each.code, each.severity, each.entry_id, each.line, each.offset, each.length) for each in report.findings]
    assert facts == [
        ("usage_unknown", "warning", id, at + 1, starts[at], len(found[at]) - 1)
        for id, at in (("b", 2), ("d", 4), ("e", 5))
    ]
    assert not report.damaged
    done = repair(path)
    assert (done.needed, done.remaining) == (False, ())
    with Session.open(path, mode="r") as session:
        assert session.findings == ()


def test_unknown_usage_does_not_hide_damage(tmp_path: Path) -> None:
    """Only the first 1,000 are listed, and the log is not damaged for having more of them."""
    path = tmp_path / "log.jsonl"
    lines = [node(f"m{at}", None, message={"role": "assistant"}, usage={"tokens_in": 7}) for at in range(1001)]
    path.write_bytes(log_of(*lines))
    report = verify(path)
    assert ([each.code for each in report.findings], report.damaged) == (["usage_unknown"] * 1000, False)
    path.write_bytes(log_of(*lines, node("x", None, message=[])))
    report = verify(path)
    assert ([each.code for each in report.findings][999:], report.damaged) == (["usage_unknown", "bad_body"], True)


def test_sums_of_a_store_read_every_spelling(tmp_path: Path) -> None:
    """By session and by branch."""
    count = Counts(plain=3, read=5, text=7, reasoning=11)
    with open_store(str(tmp_path / "s")) as store:
        with store.create(id="s") as session:
            for case in CASES.values():
                sure = count._replace(**dict.fromkeys(case.lacks, 0))
                session.append({"role": "assistant", "content": "a"}, usage=case.write(sure))
        total = sum(26 - (5 if "read" in case.lacks else 0) for case in CASES.values())
        assert [row.usage.total_tokens for row in store.usage("s")] == [total]
        assert [row.usage.total_tokens for row in store.usage("s", by="branch")] == [total]
