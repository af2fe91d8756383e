CREATE TABLE IF NOT EXISTS ct_schema (version INTEGER NOT NULL PRIMARY KEY);

CREATE TABLE IF NOT EXISTS ct_sessions (
  session_id TEXT NOT NULL PRIMARY KEY, owner TEXT, cwd TEXT, git_root TEXT, name TEXT, name_words TEXT NOT NULL,
  archived INTEGER NOT NULL,
  kind TEXT NOT NULL, parent_id TEXT, parent_entry TEXT, copying INTEGER NOT NULL,
  created_ms BIGINT, active_ms BIGINT NOT NULL, active_slot BIGINT NOT NULL, size BIGINT NOT NULL, crc BIGINT NOT NULL,
  leaf TEXT,
  entries BIGINT NOT NULL, messages BIGINT NOT NULL, first_user TEXT, last_user TEXT);

CREATE INDEX IF NOT EXISTS ct_sessions_by_activity ON ct_sessions (active_slot);

CREATE INDEX IF NOT EXISTS ct_sessions_by_owner ON ct_sessions (owner, active_slot);

CREATE INDEX IF NOT EXISTS ct_sessions_by_cwd ON ct_sessions (cwd, active_slot);

CREATE INDEX IF NOT EXISTS ct_sessions_by_git_root ON ct_sessions (git_root, active_slot);

CREATE INDEX IF NOT EXISTS ct_sessions_by_parent ON ct_sessions (parent_id);

CREATE TABLE IF NOT EXISTS ct_usage (
  session_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, answers BIGINT NOT NULL,
  input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
  cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL, PRIMARY KEY (session_id, provider, model));

CREATE TABLE IF NOT EXISTS ct_lines (
  session_id TEXT NOT NULL, position BIGINT NOT NULL, id TEXT, parent_id TEXT, type TEXT NOT NULL, role TEXT,
  ms BIGINT, words TEXT NOT NULL, line TEXT, PRIMARY KEY (session_id, position), UNIQUE (session_id, id));

CREATE TABLE IF NOT EXISTS ct_snapshots (
  session_id TEXT NOT NULL, generation BIGINT NOT NULL, part INTEGER NOT NULL, size BIGINT NOT NULL,
  data BYTEA NOT NULL, PRIMARY KEY (session_id, generation, part));

CREATE INDEX IF NOT EXISTS ct_lines_words ON ct_lines USING gin (to_tsvector('simple', words)) WHERE words <> '';
