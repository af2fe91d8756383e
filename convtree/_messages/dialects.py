"""The words of the providers' and tools' message formats: roles, block types, keys, tool names. Data only.

The one table of such names. `messages`, `tokens`, `cut_points`, `compaction` and `_providers` look them up here, so a
new dialect is a change of this module and of the module that gives its words a meaning.
"""

from __future__ import annotations

import re

# --- names of shapes ---

CHAT, RESPONSES, ANTHROPIC, GEMINI = "openai-chat", "openai-responses", "anthropic", "gemini"
PI, KIT = "pi", "kit"
#: those of the providers, which `Context.to` takes
SHAPES = (CHAT, RESPONSES, ANTHROPIC, GEMINI)

# --- roles ---

SYSTEM_ROLES = ("system", "developer")
ASSISTANT_ROLES = ("assistant", "model")
#: roles of messages that carry a tool's result: OpenAI chat, pi, the first version of OpenAI chat
RESULT_ROLES = ("tool", "toolResult", "function")
PI_ROLES = ("toolResult", "bashExecution", "custom", "branchSummary", "compactionSummary")
#: in pi a turn also begins with a command that the user ran, or with a message that an extension adds for the user
TURN_ROLES = frozenset({"user", "bashExecution", "custom"})

# --- message types and blocks ---

#: block types whose `text` a person would read; reasoning and tool traffic are not among them
TEXT_BLOCKS = ("text", "input_text", "output_text", "refusal")
THINKING_BLOCKS = ("thinking", "redacted_thinking")
#: Anthropic and pi
CALL_BLOCKS = ("tool_use", "toolCall")
RESULT_BLOCKS = ("tool_result",)
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
CHAT_KEYS = frozenset({"tool_calls", "tool_call_id", "function_call", "refusal", "name", "audio", *REASONING_KEYS})
#: the call that a result message answers: OpenAI chat, pi
RESULT_ID_KEYS = ("tool_call_id", "toolCallId")
RESULT_NAME_KEY = "toolName"  # pi
#: both spellings of Gemini's parts
GEMINI_CALL_KEYS = ("functionCall", "function_call")
GEMINI_RESULT_KEYS = ("functionResponse", "function_response")
GEMINI_DATA_KEYS = ("inlineData", "inline_data")
GEMINI_FILE_KEYS = ("fileData", "file_data")
GEMINI_SIGNATURE_KEYS = ("thoughtSignature", "thought_signature")

#: pi's stop reasons of an incomplete reply, whose calls were never run
FAILED_STOPS = ("error", "aborted")

# --- keys without tokens ---

#: keys that say what the `data` beside them is
MEDIA_TYPE_KEYS = ("media_type", "mimeType", "mime_type")
AUDIO_FORMATS = ("wav", "mp3", "flac", "opus", "pcm16")
#: keys whose values tell how to read a message, or are for the provider alone
UNCOUNTED_KEYS = frozenset(
    {"type", "role", "id", "call_id", *RESULT_ID_KEYS, "tool_use_id", "status", "media_type", "mimeType"}
    | {"signature", "thinkingSignature", *GEMINI_SIGNATURE_KEYS, "encrypted_content"}
)
#: keys that some programs store in a message and never send
UNSENT_KEYS = frozenset({"details", "usage", "timestamp", "api", "provider", "model", "stopReason", "isError"})

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
PATCHED_FILE = re.compile(r"^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+?)\s*$", re.MULTILINE)
#: arguments that hold the path of the file; the first one present counts
PATH_ARGUMENTS = ("path", "file_path", "filePath", "filename", "file", "absolute_path", "notebook_path")
