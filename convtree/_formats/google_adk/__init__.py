"""Google's ADK."""
