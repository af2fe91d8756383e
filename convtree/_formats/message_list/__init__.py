"""Messages without a tool: bare arrays and lines of them, data sets, and dumps of requests."""
