"""convtree as the store of frameworks. Each module needs the framework's package, and an extra of the same name.

`openai_agents.ConvtreeSession` for the OpenAI Agents SDK.
"""
