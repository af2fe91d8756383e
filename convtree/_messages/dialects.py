"""The words of the providers' and tools' message formats: roles, block types, keys, tool names. Data only.

The one table of such names. The readers of this folder, `_providers`, `_session/compaction` and the exporters look them
up here, so a new dialect is a change of this module and of the module that gives its words a meaning. The words that
only one framework uses are in its own module.
"""

from __future__ import annotations

from typing import Literal

# --- names of shapes ---

CHAT, RESPONSES, ANTHROPIC, GEMINI = "openai-chat", "openai-responses", "anthropic", "gemini"
PI, KIT = "pi", "kit"
#: those of the providers, which `Context.to` takes
SHAPES = (CHAT, RESPONSES, ANTHROPIC, GEMINI)

# --- roles ---

#: every word for a role, in lower case -> the standard one. In pi a user runs commands, and extensions speak as users.
ROLES = {
    **{each: each for each in ("system", "developer", "user", "assistant", "tool")},
    **dict.fromkeys(("ai", "bot", "model", "chatbot"), "assistant"),
    **dict.fromkeys(("human", "bashexecution", "custom", "branchsummary", "compactionsummary"), "user"),
    **dict.fromkeys(("function", "toolresult"), "tool"),
}
#: standard role -> whom it speaks for; a tool speaks on the user's side
SPEAKERS: dict[str, Literal["system", "user", "assistant"]] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "tool"), "user"),
    "assistant": "assistant",
}
SYSTEM_ROLES = ("system", "developer")
PI_ROLES = ("toolResult", "bashExecution", "custom", "branchSummary", "compactionSummary")

# --- message types and blocks ---

#: block types whose `text` a person would read; reasoning and tool traffic are not among them
TEXT_BLOCKS = ("text", "input_text", "output_text", "refusal")
#: Anthropic's blocks for tools on its servers; the results of the others end in `_tool_result`
HOSTED_BLOCKS = ("server_tool_use", "mcp_tool_use", "container_upload", "compaction", "tool_reference")
#: Anthropic and pi
CALL_BLOCKS = ("tool_use", "toolCall")
#: kit, whose parts keep their fields under `data`
KIT_CALL, KIT_RESULT = "tool_call", "tool_result"
#: items of OpenAI Responses that name their tool; the type of any other call is the name of its tool
NAMED_CALL_ITEMS = ("function_call", "custom_tool_call")
#: result items of OpenAI Responses whose output is a text
PLAIN_OUTPUT_ITEMS = ("function_call_output", "custom_tool_call_output")
#: the text in place of a result that is hidden from the model
HIDDEN_RESULT = "hidden"
#: result item that does not end in `_call_output`
SEARCH_OUTPUT_ITEM = "tool_search_output"

#: block type -> the only shape that has it
SHAPE_OF_BLOCK = {
    **dict.fromkeys(("image_url", "input_audio", "file"), CHAT),
    **dict.fromkeys(("input_text", "output_text", "input_image", "input_file"), RESPONSES),
    **dict.fromkeys(("tool_use", "tool_result", "redacted_thinking", "document", "search_result"), ANTHROPIC),
    **dict.fromkeys(("server_tool_use", "mcp_tool_use", "mcp_tool_result", "container_upload"), ANTHROPIC),
    **{f"{name}_tool_result": ANTHROPIC for name in ("web_search", "web_fetch", "code_execution", "tool_search")},
    **{f"{name}_code_execution_tool_result": ANTHROPIC for name in ("bash", "text_editor")},
    "toolCall": PI,
}

# --- keys of messages ---

#: reasoning beside the content, in servers that imitate OpenAI chat; the first two hold text
REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_details")
CHAT_KEYS = frozenset(
    {"tool_calls", "tool_call_id", "function_call", "refusal", "name", "audio", "annotations", *REASONING_KEYS}
)
#: the call that a result message answers: OpenAI chat, pi
RESULT_ID_KEYS = ("tool_call_id", "toolCallId")
RESULT_NAME_KEYS = ("toolName", "tool_name", "name")  # pi, Ollama, OpenAI chat
#: words for the same field, the standard one first: the text of a block, a tool's output, the arguments of a call
TEXT_KEYS = ("text", "content", "value", "output_text")
OUTPUT_KEYS = ("content", "output", "result", "response", "text")
ARGUMENT_KEYS = ("arguments", "input", "args", "parameters")
#: keys that hold what a message says in formats that no reader knows
SAID_KEYS = frozenset(
    {*TEXT_KEYS, *OUTPUT_KEYS, "answer", "body", "completion", "message", "parts", "blocks", "data", "prompt", "query"}
    | {"attachments", "files", "images", "reply", "transcript", "tool_calls", "toolCalls", "function_call", "steps"}
)
#: both spellings of Gemini's parts
GEMINI_CALL_KEYS = ("functionCall", "function_call")
GEMINI_RESULT_KEYS = ("functionResponse", "function_response")
GEMINI_DATA_KEYS = ("inlineData", "inline_data")
GEMINI_FILE_KEYS = ("fileData", "file_data")
#: parts for tools on Gemini's servers
GEMINI_HOSTED_KEYS = (
    *("executableCode", "executable_code", "codeExecutionResult", "code_execution_result"),
    *("toolCall", "tool_call", "toolResponse", "tool_response"),
)
GEMINI_SIGNATURE_KEYS = ("thoughtSignature", "thought_signature")
#: what Google documents to be sent as the signature of calls that no Gemini model made; it is no base64
GEMINI_UNSIGNED = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")

#: keys that say nothing by themselves
FRAME_KEYS = frozenset({"role", "type", "id", "name", "timestamp", "created_at", "model", "status", "object", "index"})
#: signatures and encrypted content: only the model that made them can use their values
SIGNATURE_KEYS = frozenset(
    {"thinkingSignature", "textSignature", "thoughtSignature", "thought_signature", "reasoning_signature"}
    | {"thoughtSignatures", "thought_signatures", "__gemini_function_call_thought_signatures__"}
    | {"encrypted_content", "encryptedContent", "reasoningEncryptedContent", "reasoning_encrypted_content"}
    | {"protected_data", "protectedData", "reasoning_opaque", "reasoningOpaque", "redactedData"}
)
#: the same in reasoning; elsewhere the names are too common
REASONING_SIGNATURE_KEYS = frozenset({"signature", "redactedContent", "redacted_content"})
#: the same in results of tools on a provider's servers
HOSTED_SIGNATURE_KEYS = frozenset({"encrypted_index", "encrypted_stdout"})

#: pi's stop reasons of an incomplete reply, whose calls were never run
FAILED_STOPS = ("error", "aborted")

# --- tools that work on files, in lower case ---

READ_TOOLS = frozenset({"read", "read_file", "readfile", "view", "view_file", "open_file"})
WRITE_TOOLS = frozenset(
    {"write", "write_file", "writefile", "edit", "edit_file", "multiedit", "create_file", "str_replace", "replace"}
    | {"notebookedit"}
)
#: tools that read or write as their argument `command` says
COMMAND_TOOLS = frozenset({"str_replace_editor", "str_replace_based_edit_tool", "text_editor"})
COMMAND_READS = "view"
PATCH_TOOL = "apply_patch"
PATCHED_FILE = r"(?m)^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+?)\s*$"  # a regular expression
#: arguments that hold the path of the file; the first one present counts
PATH_ARGUMENTS = ("path", "file_path", "filePath", "filename", "file", "absolute_path", "notebook_path")
