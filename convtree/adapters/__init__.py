"""convtree as the store of frameworks. Each module needs the framework's package, and an extra of the same name.

`openai_agents.ConvtreeSession` for the OpenAI Agents SDK, `pydantic_ai.ConvtreeConversationStore` for pydantic-ai,
`claude_agent_sdk.ConvtreeSessionStore` for the Claude Agent SDK, `langgraph.ConvtreeSaver` for LangGraph,
`google_adk.ConvtreeSessionService` for Google's ADK, `chatkit.ConvtreeStore` for OpenAI's ChatKit, and
`agent_framework.ConvtreeHistoryProvider` for Microsoft Agent Framework.
"""
