"""The spellings of token usage: which keys each provider and framework writes, and what its numbers include. Data only.

`usage` reads them. A spelling is a row of `SPELLINGS`; the first row that fits an object and finds tokens in it counts,
so rows with telling keys stand before the rows that share their plain keys. Two facts decide how a row is counted:
whether its input includes the tokens that came from a cache or were written to one, and whether its output includes
reasoning. The comment on each row names where that is documented, by package and version or by page.

A path is written `a`, or `a > b` for a key inside an object. `a + b` is a sum. Of several paths the first one with
tokens counts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Path = tuple[str, ...]
#: alternatives; each is a sum of paths
Counter = tuple[tuple[Path, ...], ...]


def _paths(*written: str) -> Counter:
    return tuple(tuple(tuple(path.split(" > ")) for path in each.split(" + ")) for each in written)


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider or framework writes usage.

    Attributes:
        name: whose spelling it is, for people.
        input: tokens of the prompt.
        output: tokens of the answer.
        more_input: tokens of the prompt that `input` leaves out, such as results of the provider's own tools.
        cache_read: tokens of the prompt that came from a cache.
        cache_write: tokens of the prompt that were written to a cache.
        reasoning: tokens of the answer that were reasoning.
        total: all tokens together.
        input_has_cache: whether `input` includes `cache_read` and `cache_write`.
        output_has_reasoning: whether `output` includes `reasoning`.
        mixed: what this spelling is used for in both ways. The total tells which, or a part larger than its whole;
            without them the two fields above count.
        one_of: paths of which one must have a value, for a spelling with telling keys.
        all_of: paths that must all have a value.
        none_of: paths that must not have a value.
    """

    name: str
    input: Counter
    output: Counter
    more_input: Counter = ()
    cache_read: Counter = ()
    cache_write: Counter = ()
    reasoning: Counter = ()
    total: Counter = ()
    input_has_cache: bool
    output_has_reasoning: bool
    mixed: tuple[Literal["cache", "reasoning"], ...] = ()
    one_of: Counter = ()
    all_of: Counter = ()
    none_of: Counter = ()


#: objects that hold the usage in one of their fields; its neighbours, such as a cost, are read as well
WRAPPERS = ("usage", "usage_metadata", "usageMetadata", "tokens", "token_usage", "tokenUsage", "meta")
WRAPPER_DEPTH = 3

#: a list of further requests that were made for an answer, and the types of those that the other counts leave out.
#: anthropic 2.14, types/beta/beta_usage.py: the tokens of a `compaction` "are not included in the top-level fields".
FURTHER_REQUESTS = "iterations"
FURTHER_TYPES = ("compaction",)

#: cost, in the caller's currency; where the value is an object, its total or the sum of its parts
COSTS = ("cost", "total_cost", "totalCost", "cost_usd", "costUsd", "costUSD", "total_cost_usd", "totalCostUsd")
COST_TOTALS = ("total", "total_cost", "totalCost")
COST_PARTS = ("input", "output", "cacheRead", "cacheWrite")  # pi

SPELLINGS = (
    # cohere 7.3.1, types/usage.py: `tokens` are those the model took and made, `billed_units` those that are billed;
    # `cached_tokens` is "the number of prompt tokens that hit the inference cache".
    Spelling(
        name="Cohere",
        input=_paths("tokens > input_tokens", "billed_units > input_tokens"),
        output=_paths("tokens > output_tokens", "billed_units > output_tokens"),
        cache_read=_paths("cached_tokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        one_of=_paths(
            *("tokens > input_tokens", "tokens > output_tokens"),
            *("billed_units > input_tokens", "billed_units > output_tokens"),
        ),
    ),
    # openai 3.57, types/completion_usage.py: cached tokens are "present in the prompt", reasoning is "counted in the
    # total completion tokens". xAI leaves reasoning out of `completion_tokens` in some models, and its total says so.
    # DeepSeek's API reference: prompt_tokens = prompt_cache_hit_tokens + prompt_cache_miss_tokens. litellm 1.110,
    # types/utils.py: `cache_read_input_tokens` of Anthropic becomes cached_tokens of the prompt. Moonshot and CrewAI
    # keep cached tokens beside the others; genai-prices 0.2.3 takes them for a part of the prompt.
    Spelling(
        name="OpenAI chat, and all that imitate it",
        input=_paths("prompt_tokens", "prompt_cache_hit_tokens + prompt_cache_miss_tokens"),
        output=_paths("completion_tokens"),
        cache_read=_paths(
            *("prompt_tokens_details > cached_tokens", "input_tokens_details > cached_tokens"),
            *("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "cached_prompt_tokens"),
        ),
        cache_write=_paths(
            *("prompt_tokens_details > cache_write_tokens", "prompt_tokens_details > cache_creation_tokens"),
            *("prompt_tokens_details > cache_creation_input_tokens", "cache_creation_input_tokens"),
        ),
        reasoning=_paths("completion_tokens_details > reasoning_tokens", "reasoning_tokens"),
        total=_paths("total_tokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("reasoning",),
    ),
    # google-genai 3.6.1, types.GenerateContentResponseUsageMetadata: the prompt "includes the number of tokens in the
    # cached content"; the total is the sum of prompt, candidates, tool use and thoughts. google-adk 2.13 writes the
    # same keys for other providers: models/lite_llm.py with the reasoning inside the candidates, models/anthropic_llm
    # with it beside them, and both with `cache_creation_input_tokens`. The live API says response for candidates.
    Spelling(
        name="Gemini, Google ADK",
        input=_paths("prompt_token_count", "promptTokenCount"),
        output=_paths(
            *("candidates_token_count", "candidatesTokenCount"),
            *("response_token_count", "responseTokenCount"),
        ),
        more_input=_paths("tool_use_prompt_token_count", "toolUsePromptTokenCount"),
        cache_read=_paths("cached_content_token_count", "cachedContentTokenCount"),
        cache_write=_paths("cache_creation_input_tokens"),
        reasoning=_paths("thoughts_token_count", "thoughtsTokenCount"),
        total=_paths("total_token_count", "totalTokenCount"),
        input_has_cache=True,
        output_has_reasoning=False,
        mixed=("reasoning",),
    ),
    # google-genai 3.6.1, interactions/usage.py: cached tokens are a "part of the prompt", the total is "prompt +
    # responses + other internal tokens".
    Spelling(
        name="Gemini interactions",
        input=_paths("total_input_tokens"),
        output=_paths("total_output_tokens"),
        more_input=_paths("total_tool_use_tokens"),
        cache_read=_paths("total_cached_tokens"),
        reasoning=_paths("total_thought_tokens"),
        total=_paths("total_tokens"),
        input_has_cache=True,
        output_has_reasoning=False,
        mixed=("reasoning",),
    ),
    # agent-framework-anthropic 1.0.0b261022 copies Anthropic's numbers, whose input leaves out the cache, and marks
    # them with keys of their own.
    Spelling(
        name="Microsoft Agent Framework with Anthropic",
        input=_paths("input_token_count"),
        output=_paths("output_token_count"),
        cache_read=_paths("cache_read_input_token_count", "anthropic.cache_read_input_tokens"),
        cache_write=_paths("cache_creation_input_token_count", "anthropic.cache_creation_input_tokens"),
        input_has_cache=False,
        output_has_reasoning=True,
        one_of=_paths("anthropic.cache_read_input_tokens", "anthropic.cache_creation_input_tokens"),
    ),
    # agent-framework-openai 1.17 copies OpenAI's numbers, with a total. Camel case is that of .NET.
    Spelling(
        name="Microsoft Agent Framework",
        input=_paths("input_token_count", "inputTokenCount"),
        output=_paths("output_token_count", "outputTokenCount"),
        cache_read=_paths(
            *("cache_read_input_token_count", "cachedInputTokenCount"),
            *("openai.cached_input_tokens", "prompt/cached_tokens"),
        ),
        cache_write=_paths("cache_creation_input_token_count", "openai.cache_write_tokens"),
        reasoning=_paths(
            *("reasoning_output_token_count", "reasoningTokenCount"),
            *("openai.reasoning_tokens", "completion/reasoning_tokens"),
        ),
        total=_paths("total_token_count", "totalTokenCount"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("cache",),
    ),
    # ollama 0.6.3, _types.py: "tokens evaluated in the prompt", "tokens evaluated in inference", thinking among them.
    Spelling(
        name="Ollama",
        input=_paths("prompt_eval_count"),
        output=_paths("eval_count"),
        input_has_cache=True,
        output_has_reasoning=True,
    ),
    # langchain-core 1.8.4, messages/ai.py: both are the "sum of all token types". langchain-anthropic splits cache
    # writes by their lifetime and sets the sum to 0; langchain-openai puts the service tier before the key.
    Spelling(
        name="LangChain",
        input=_paths("input_tokens"),
        output=_paths("output_tokens"),
        cache_read=_paths(
            *("input_token_details > cache_read", "input_token_details > priority_cache_read"),
            "input_token_details > flex_cache_read",
        ),
        cache_write=_paths(
            "input_token_details > cache_creation",
            "input_token_details > ephemeral_5m_input_tokens + input_token_details > ephemeral_1h_input_tokens",
        ),
        reasoning=_paths("output_token_details > reasoning"),
        input_has_cache=True,
        output_has_reasoning=True,
        one_of=_paths("input_token_details", "output_token_details"),
    ),
    # openai 3.57, types/responses/response_usage.py: the details are "a detailed breakdown of the input tokens" and of
    # the output tokens.
    Spelling(
        name="OpenAI Responses",
        input=_paths("input_tokens"),
        output=_paths("output_tokens"),
        cache_read=_paths("input_tokens_details > cached_tokens", "prompt_tokens_details > cached_tokens"),
        cache_write=_paths("input_tokens_details > cache_write_tokens"),
        reasoning=_paths("output_tokens_details > reasoning_tokens"),
        total=_paths("total_tokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("reasoning",),
        one_of=_paths("input_tokens_details", "prompt_tokens_details"),
    ),
    # openai/codex, codex-rs/protocol/src/protocol.rs, TokenUsage: made of the usage of Responses; the input
    # includes the cached input, which `non_cached_input` subtracts.
    Spelling(
        name="Codex",
        input=_paths("input_tokens"),
        output=_paths("output_tokens"),
        cache_read=_paths("cached_input_tokens"),
        cache_write=_paths("cache_write_tokens"),
        reasoning=_paths("reasoning_output_tokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        one_of=_paths("cached_input_tokens", "reasoning_output_tokens"),
    ),
    # `Usage` of this package, stored as it is.
    Spelling(
        name="convtree",
        input=_paths("input_tokens"),
        output=_paths("output_tokens"),
        cache_read=_paths("cache_read_tokens"),
        cache_write=_paths("cache_write_tokens"),
        input_has_cache=False,
        output_has_reasoning=True,
        all_of=_paths("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost"),
        none_of=_paths("details"),
    ),
    # pydantic-ai 2.68, usage.py: the input "includes cached tokens", for every provider; reasoning is "included in
    # output_tokens". Older versions wrote request and response, kept the rest in the details, and added the thoughts
    # of Gemini to the total only.
    Spelling(
        name="pydantic-ai",
        input=_paths("input_tokens", "request_tokens"),
        output=_paths("output_tokens", "response_tokens"),
        cache_read=_paths(
            *("cache_read_tokens", "details > cached_tokens", "details > cache_read_input_tokens"),
            "details > cached_content_tokens",
        ),
        cache_write=_paths("cache_write_tokens", "details > cache_creation_input_tokens"),
        reasoning=_paths("output_reasoning_tokens", "details > reasoning_tokens", "details > thoughts_tokens"),
        total=_paths("total_tokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("reasoning",),
        one_of=_paths("cache_read_tokens", "cache_write_tokens", "details", "request_tokens", "response_tokens"),
    ),
    # anthropic 2.14, types/usage.py, with the page "Prompt caching": the whole input is the sum of input_tokens, cache
    # reads and cache writes; the output "remains the inclusive total", reasoning among it. Claude Code stores the same.
    Spelling(
        name="Anthropic, and any other with these two keys",
        input=_paths("input_tokens"),
        output=_paths("output_tokens"),
        cache_read=_paths("cache_read_input_tokens"),
        cache_write=_paths(
            "cache_creation_input_tokens",
            "cache_creation > ephemeral_5m_input_tokens + cache_creation > ephemeral_1h_input_tokens",
        ),
        input_has_cache=False,
        output_has_reasoning=True,
    ),
    # @ai-sdk/provider 3.0.19 (AI SDK 6), LanguageModelV3Usage: `total` is "the total number of input (prompt) tokens
    # used", noCache, cacheRead and cacheWrite are its parts.
    Spelling(
        name="AI SDK 6, as its providers report it",
        input=_paths(
            "inputTokens > total",
            "inputTokens > noCache + inputTokens > cacheRead + inputTokens > cacheWrite",
        ),
        output=_paths("outputTokens > total", "outputTokens > text + outputTokens > reasoning"),
        cache_read=_paths("inputTokens > cacheRead"),
        cache_write=_paths("inputTokens > cacheWrite"),
        input_has_cache=True,
        output_has_reasoning=True,
    ),
    # ai 6.0.326, asLanguageModelUsage: the totals of the row above, with details beside them.
    Spelling(
        name="AI SDK 6",
        input=_paths("inputTokens"),
        output=_paths("outputTokens"),
        cache_read=_paths("inputTokenDetails > cacheReadTokens", "cachedInputTokens"),
        cache_write=_paths("inputTokenDetails > cacheWriteTokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        one_of=_paths("inputTokenDetails", "outputTokenDetails"),
    ),
    # botocore 1.44.8, bedrock-runtime TokenUsage, and langchain-aws 1.9.1, which adds the three up: the input leaves
    # out the cache, the total includes it. strands-agents 1.62 writes the same keys for providers whose input includes
    # the cache; its telemetry/metrics.py tells them apart by the total, too. The per-model usage of the Claude Agent
    # SDK has cacheReadInputTokens and cacheCreationInputTokens with Anthropic's meaning.
    Spelling(
        name="Bedrock Converse, Strands, Claude Agent SDK by model",
        input=_paths("inputTokens"),
        output=_paths("outputTokens"),
        cache_read=_paths("cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write=_paths("cacheWriteInputTokens", "cacheWriteInputTokenCount", "cacheCreationInputTokens"),
        total=_paths("totalTokens"),
        input_has_cache=False,
        output_has_reasoning=True,
        mixed=("cache",),
        one_of=_paths(
            *("cacheReadInputTokens", "cacheReadInputTokenCount"),
            *("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        ),
    ),
    # AI SDK 5, LanguageModelV2Usage: cached and reasoning tokens as the provider counts them, and a total that "might
    # include reasoning". OpenAI's input includes the cache, Anthropic's does not.
    Spelling(
        name="AI SDK 5, and any other with these two keys",
        input=_paths("inputTokens"),
        output=_paths("outputTokens"),
        cache_read=_paths("cachedInputTokens", "cacheReadTokens"),
        cache_write=_paths("cacheCreationInputTokens", "cacheWriteTokens"),
        reasoning=_paths("reasoningTokens"),
        total=_paths("totalTokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("cache", "reasoning"),
    ),
    # continuedev/continue, core/index.d.ts, Usage: what the provider counts. OpenAI's input includes the cache, that of
    # Anthropic (core/llm/llms/Anthropic.ts) does not.
    Spelling(
        name="Continue",
        input=_paths("promptTokens"),
        output=_paths("completionTokens"),
        cache_read=_paths("promptTokensDetails > cachedTokens"),
        cache_write=_paths("promptTokensDetails > cacheWriteTokens"),
        reasoning=_paths("completionTokensDetails > reasoningTokens"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("cache",),
        one_of=_paths("promptTokensDetails", "completionTokensDetails"),
    ),
    # AI SDK 4, LanguageModelUsage: nothing but these two and their sum.
    Spelling(
        name="AI SDK 4",
        input=_paths("promptTokens"),
        output=_paths("completionTokens"),
        input_has_cache=True,
        output_has_reasoning=True,
    ),
    # cline/cline, getApiMetrics.ts: the whole is the sum of the four. RooCodeInc/Roo-Code, shared/cost.ts, writes the
    # same keys with `apiProtocol`; its input includes the cache. Until November 2025 that of Anthropic did not.
    Spelling(
        name="Roo Code",
        input=_paths("tokensIn"),
        output=_paths("tokensOut"),
        cache_read=_paths("cacheReads"),
        cache_write=_paths("cacheWrites"),
        input_has_cache=True,
        output_has_reasoning=True,
        mixed=("cache",),
        one_of=_paths("apiProtocol"),
    ),
    Spelling(
        name="Cline",
        input=_paths("tokensIn"),
        output=_paths("tokensOut"),
        cache_read=_paths("cacheReads"),
        cache_write=_paths("cacheWrites"),
        input_has_cache=False,
        output_has_reasoning=True,
    ),
    # lmstudio-ai/lmstudio-js, LLMPredictionStats.ts: the tokens supplied, those predicted, and their sum.
    Spelling(
        name="LM Studio",
        input=_paths("promptTokensCount"),
        output=_paths("predictedTokensCount"),
        total=_paths("totalTokensCount"),
        input_has_cache=True,
        output_has_reasoning=True,
    ),
    # MoonshotAI/kimi-cli, kosong, TokenUsage: the four are disjoint, "other" is what no cache had or took.
    Spelling(
        name="Kimi CLI",
        input=_paths("input_other", "inputOther"),
        output=_paths("output"),
        cache_read=_paths("input_cache_read", "inputCacheRead"),
        cache_write=_paths("input_cache_creation", "inputCacheCreation"),
        input_has_cache=False,
        output_has_reasoning=True,
        one_of=_paths("input_other", "inputOther"),
    ),
    # google-gemini/gemini-cli, chatRecordingService.ts: Gemini's numbers under short names.
    Spelling(
        name="Gemini CLI",
        input=_paths("input"),
        output=_paths("output"),
        more_input=_paths("tool"),
        cache_read=_paths("cached"),
        reasoning=_paths("thoughts"),
        total=_paths("total"),
        input_has_cache=True,
        output_has_reasoning=False,
        one_of=_paths("cached", "thoughts", "tool"),
    ),
    # anomalyco/opencode, session.ts, getUsage: the input is what the cache leaves; reasoning is taken out of the
    # output, and both are paid for. Earlier versions left it in, and their total says so.
    Spelling(
        name="opencode",
        input=_paths("input"),
        output=_paths("output"),
        cache_read=_paths("cache > read"),
        cache_write=_paths("cache > write"),
        reasoning=_paths("reasoning"),
        total=_paths("total"),
        input_has_cache=False,
        output_has_reasoning=False,
        mixed=("reasoning",),
        one_of=_paths("cache > read", "cache > write"),
    ),
    # earendil-works/pi, packages/ai/src/types.ts: reasoning is "a subset of output", the other four make up the total.
    Spelling(
        name="pi, and any other with these two keys",
        input=_paths("input"),
        output=_paths("output"),
        cache_read=_paths("cacheRead"),
        cache_write=_paths("cacheWrite"),
        input_has_cache=False,
        output_has_reasoning=True,
    ),
)
