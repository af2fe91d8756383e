"""The formats that can be read, in the order in which they are tried.

Importing this module imports every format, so it is imported only when a file of another tool has to be recognised.
"""

from convtree._formats import (
    aider,
    atuin_ai,
    chatgpt,
    claude_ai,
    continue_dev,
    copilot_cli,
    crush,
    goose,
    kubectl_ai,
    librechat,
    lmstudio,
    openai_agents,
    openwebui,
    picoclaw,
    qwen_code,
    sillytavern,
    vscode_chat,
    zed,
)
from convtree._formats.atif import reader as atif
from convtree._formats.claude_code import reader as claude_code
from convtree._formats.cline import reader as cline
from convtree._formats.codex import reader as codex
from convtree._formats.common.base import Format
from convtree._formats.cursor import desktop as cursor
from convtree._formats.cursor import transcript as cursor_agent
from convtree._formats.gemini_cli import checkpoint as gemini_checkpoint
from convtree._formats.gemini_cli import reader as gemini_cli
from convtree._formats.google_adk import reader as google_adk
from convtree._formats.kimi import cli as kimi_cli
from convtree._formats.kimi import code as kimi_code
from convtree._formats.kit import reader as kit
from convtree._formats.langgraph import reader as langgraph
from convtree._formats.llm import reader as llm
from convtree._formats.message_list import pydantic_ai
from convtree._formats.message_list import reader as message_list
from convtree._formats.opencode import reader as opencode
from convtree._formats.pi import reader as pi

FORMATS: tuple[Format, ...] = (
    *(kit, pi, qwen_code, claude_code, codex, gemini_cli, gemini_checkpoint, picoclaw, kubectl_ai),
    *(copilot_cli, cursor_agent, kimi_cli, kimi_code),
    *(cline, aider, continue_dev, sillytavern, vscode_chat, lmstudio),
    *(chatgpt, claude_ai, openwebui, librechat),
    atif,
    *(goose, crush, zed, cursor, atuin_ai, llm, opencode),
    *(openai_agents, langgraph, google_adk, pydantic_ai),
    message_list,  # the last: it takes what any reader of messages understands
)
