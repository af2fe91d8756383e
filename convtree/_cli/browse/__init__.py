"""The application of `convtree browse`: sessions, the tree of a session, and a message.

`shape`, `listing` and `message_blocks` are pure: what a session looks like as lines, and an entry as blocks of text.
`source` opens sessions, and `model` reads one. Their calls may take long, so screens make them in threads. `app`,
`sessions_screen`, `session_screen` and the widgets need Textual; the command imports them when it runs.

Text of a log is escaped where it becomes a line, and once more by the filter of `app`, through which every line goes on
its way to the terminal. None of it is ever read as markup.
"""
