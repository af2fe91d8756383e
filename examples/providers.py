"""One turn with the SDK of each provider.

Needs the three SDKs, and the API key of the provider you call: pip install anthropic openai google-genai

The pattern to copy: append the question, which may raise before a token is spent; call the model; append the reply
with `reply_to`, which stores it even if another writer was faster.
"""

from anthropic import Anthropic
from google.genai import Client
from google.genai.types import GenerateContentConfig
from openai import OpenAI

from convtree import Entry, MessageEntry, Session


def ask_anthropic(session: Session, client: Anthropic, text: str, model: str) -> MessageEntry:
    question = session.append({"role": "user", "content": text})
    context = session.build_context(leaf=question.id)
    reply = client.messages.create(model=context.model or model, max_tokens=1000, **context.to("anthropic"))
    return session.append(reply, reply_to=question.id, provider="anthropic")


def ask_openai_chat(session: Session, client: OpenAI, text: str, model: str) -> MessageEntry:
    question = session.append({"role": "user", "content": text})
    context = session.build_context(leaf=question.id)
    reply = client.chat.completions.create(model=context.model or model, **context.to("openai-chat"))
    return session.append(reply, reply_to=question.id, provider="openai")


def ask_openai_responses(session: Session, client: OpenAI, text: str, model: str) -> list[Entry]:
    question = session.append({"role": "user", "content": text})
    context = session.build_context(leaf=question.id)
    reply = client.responses.create(model=context.model or model, **context.to("openai-responses"))
    return session.append_many(
        reply.output, reply_to=question.id, provider="openai", model=reply.model, usage=reply.usage
    )


def ask_gemini(session: Session, client: Client, text: str, model: str) -> MessageEntry:
    question = session.append({"role": "user", "parts": [{"text": text}]})
    context = session.build_context(leaf=question.id)
    request = context.to("gemini")
    config = GenerateContentConfig(system_instruction=request.get("system_instruction"))
    reply = client.models.generate_content(model=context.model or model, contents=request["contents"], config=config)
    return session.append(reply, reply_to=question.id, provider="google")


if __name__ == "__main__":
    with Session.open("conversation.jsonl") as conversation:
        print(ask_anthropic(conversation, Anthropic(), input("> "), model=input("model: ")).text)
