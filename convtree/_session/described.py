"""What a session says about itself: name, labels, metadata, directories, flags. Read from the header and the marks."""

from __future__ import annotations

from typing import Any

from convtree._session.client import Client


class Described:
    """The properties of a session that its header begins with and marks change. They do not look into the log again."""

    _client: Client

    @property
    def name(self) -> str | None:
        """The session's name."""
        return self._client.view().name

    @property
    def labels(self) -> dict[str, str]:
        """The bookmarks, label by entry id."""
        return dict(self._client.journal.index.state.labels)

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, with every change applied. A copy, down to the last list."""
        return self._client.view().metadata

    @property
    def archived(self) -> bool:
        """Whether the session is archived."""
        return self._client.journal.index.state.archived

    @property
    def held(self) -> bool:
        """Whether the session is on hold: a store does not delete it."""
        return self._client.journal.index.state.hold

    @property
    def cwd(self) -> str | None:
        """The session's working directory, with every change applied."""
        return self._client.view().cwd

    @property
    def git_root(self) -> str | None:
        """The root of the session's git repository, with every change applied."""
        return self._client.view().git_root
