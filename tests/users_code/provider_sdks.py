"""Programs with the providers' SDKs: appends their objects, and passes contexts on as their types."""

from pathlib import Path
from typing import assert_type

from anthropic import Anthropic
from anthropic.types import Message, MessageParam
from google.genai.types import ContentDict
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.responses import Response, ResponseInputItemParam

from convtree import Entry, MessageEntry, Session


def ask_anthropic(session: Session, client: Anthropic) -> MessageEntry:
    """One turn."""
    reply = client.messages.create(model="m", max_tokens=9, messages=session.build_context().messages)
    return session.append(reply, provider="anthropic", usage=reply.usage)


def ask_openai(session: Session, client: OpenAI) -> MessageEntry:
    """One turn, with a request converted to the provider's shape."""
    request = session.build_context().to("openai-chat")
    completion: ChatCompletion = client.chat.completions.create(model="m", messages=request["messages"])
    return session.append(completion)


def store(session: Session, message: Message, response: Response) -> list[Entry]:
    """Appends SDK objects."""
    assert_type(session.append(message), MessageEntry)
    return session.append_many(response.output, usage=response.usage)


def main(folder: Path) -> None:
    """Appends every provider's dict and gives them back as each provider's type."""
    session = Session.memory()
    chat: ChatCompletionMessageParam = {"role": "user", "content": "Hi"}
    anthropic: MessageParam = {"role": "user", "content": "Hi"}
    item: ResponseInputItemParam = {"type": "function_call_output", "call_id": "c", "output": "x"}
    content: ContentDict = {"role": "user", "parts": [{"text": "Hi"}]}
    for message in (chat, anthropic, item, content):
        assert_type(session.append(message), MessageEntry)
    messages = session.build_context().messages
    for_chat: list[ChatCompletionMessageParam] = messages
    for_anthropic: list[MessageParam] = messages
    for_responses: list[ResponseInputItemParam] = messages
    for_gemini: list[ContentDict] = messages
    assert len(for_chat) == len(for_anthropic) == len(for_responses) == len(for_gemini) == 4
    assert folder.is_dir()
