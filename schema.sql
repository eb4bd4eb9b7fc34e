-- The whole schema of a callbackd file. New files are made from this text; older ones are
-- brought forward to it by the numbered steps in store/migrate.go. ASCII only: sqlc v1.31
-- cuts queries off behind any other byte.
--
-- Every row has two keys. seq is small and internal: rows refer to each other by it, and lists
-- are in its order. id is what users see. Times (*_at) are Unix milliseconds.
--
-- Ids of events and notifications ascend with seq, so that both are found by halving and need no index
-- of their ids (store/lookup.go).
--
-- The indexes that lists go by have only columns of equality in front: a filter's rows are then in the
-- order of the list. Where rows come by the million, checks say a = 'x' OR a = 'y': for a list behind
-- IN, SQLite builds and drops a b-tree of its own at each write.

CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
  seq        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  scope      TEXT NOT NULL CHECK (scope IN ('read', 'write')),
  hash       BLOB NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;

-- The provider side: what the code declares, and what users set up for it.

CREATE TABLE provider (
  seq         INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  identifier  TEXT NOT NULL UNIQUE,
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  status      TEXT NOT NULL CHECK (status IN ('active', 'archived')),
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE provider_specification (
  seq           INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE,
  provider_seq  INTEGER NOT NULL REFERENCES provider (seq),
  name          TEXT NOT NULL,
  description   TEXT NOT NULL,
  config_schema BLOB NOT NULL,
  digest        BLOB NOT NULL,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  UNIQUE (provider_seq, digest)
) STRICT;

CREATE TABLE provider_version (
  seq               INTEGER PRIMARY KEY,
  id                TEXT NOT NULL UNIQUE,
  provider_seq      INTEGER NOT NULL REFERENCES provider (seq),
  specification_seq INTEGER NOT NULL REFERENCES provider_specification (seq),
  version           TEXT NOT NULL,
  is_current        INTEGER NOT NULL CHECK (is_current IN (0, 1)),
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL,
  UNIQUE (provider_seq, version)
) STRICT;

CREATE UNIQUE INDEX provider_version_current ON provider_version (provider_seq) WHERE is_current = 1;

CREATE TABLE provider_trigger (
  seq               INTEGER PRIMARY KEY,
  id                TEXT NOT NULL UNIQUE,
  provider_seq      INTEGER NOT NULL REFERENCES provider (seq),
  specification_seq INTEGER NOT NULL REFERENCES provider_specification (seq),
  key               TEXT NOT NULL,
  name              TEXT NOT NULL,
  description       TEXT NOT NULL,
  source            TEXT NOT NULL CHECK (source IN ('polling', 'webhook')),
  interval_seconds  INTEGER NOT NULL,
  baseline          TEXT NOT NULL CHECK (baseline IN ('emit', 'skip')),
  input_schema      BLOB,
  output_schema     BLOB,
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL,
  min_interval_seconds INTEGER NOT NULL DEFAULT 0,
  auto_registration INTEGER NOT NULL DEFAULT 0 CHECK (auto_registration = 0 OR auto_registration = 1),
  auto_unregistration INTEGER NOT NULL DEFAULT 0 CHECK (auto_unregistration = 0 OR auto_unregistration = 1),
  UNIQUE (specification_seq, key)
) STRICT;

CREATE TABLE provider_auth_method (
  seq               INTEGER PRIMARY KEY,
  id                TEXT NOT NULL UNIQUE,
  provider_seq      INTEGER NOT NULL REFERENCES provider (seq),
  specification_seq INTEGER NOT NULL REFERENCES provider_specification (seq),
  key               TEXT NOT NULL,
  type              TEXT NOT NULL CHECK (type IN ('oauth', 'token', 'custom')),
  name              TEXT NOT NULL,
  description       TEXT NOT NULL,
  input_schema      BLOB,
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL,
  output_schema     BLOB,
  UNIQUE (specification_seq, key)
) STRICT;

CREATE TABLE provider_deployment (
  seq                INTEGER PRIMARY KEY,
  id                 TEXT NOT NULL UNIQUE,
  provider_seq       INTEGER NOT NULL REFERENCES provider (seq),
  default_config_seq INTEGER REFERENCES provider_config (seq),
  status             TEXT NOT NULL CHECK (status IN ('active', 'archived')),
  is_default         INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  name               TEXT NOT NULL,
  description        TEXT NOT NULL,
  metadata           BLOB,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL
) STRICT;

CREATE INDEX provider_deployment_status ON provider_deployment (status);
CREATE INDEX provider_deployment_provider ON provider_deployment (provider_seq, status);

-- value is sealed: configs hold tokens in headers and URLs as often as auth configs do.
CREATE TABLE provider_config (
  seq               INTEGER PRIMARY KEY,
  id                TEXT NOT NULL UNIQUE,
  provider_seq      INTEGER NOT NULL REFERENCES provider (seq),
  specification_seq INTEGER NOT NULL REFERENCES provider_specification (seq),
  deployment_seq    INTEGER REFERENCES provider_deployment (seq),
  status            TEXT NOT NULL CHECK (status IN ('active', 'archived')),
  is_default        INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  name              TEXT NOT NULL,
  description       TEXT NOT NULL,
  metadata          BLOB,
  value             BLOB NOT NULL,
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX provider_config_status ON provider_config (status);
CREATE INDEX provider_config_provider ON provider_config (provider_seq, status);
CREATE INDEX provider_config_deployment ON provider_config (deployment_seq, status);

-- prepared is what the provider made of the value, sealed too; from renew_at on it is to be made anew.
CREATE TABLE provider_auth_config (
  seq             INTEGER PRIMARY KEY,
  id              TEXT NOT NULL UNIQUE,
  provider_seq    INTEGER NOT NULL REFERENCES provider (seq),
  auth_method_seq INTEGER NOT NULL REFERENCES provider_auth_method (seq),
  deployment_seq  INTEGER REFERENCES provider_deployment (seq),
  status          TEXT NOT NULL CHECK (status IN ('active', 'archived')),
  is_default      INTEGER NOT NULL CHECK (is_default IN (0, 1)),
  name            TEXT NOT NULL,
  description     TEXT NOT NULL,
  metadata        BLOB,
  value           BLOB NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  prepared        BLOB,
  renew_at        INTEGER
) STRICT;

CREATE INDEX provider_auth_config_status ON provider_auth_config (status);
CREATE INDEX provider_auth_config_provider ON provider_auth_config (provider_seq, status);
CREATE INDEX provider_auth_config_deployment ON provider_auth_config (deployment_seq, status);

-- Where events go. signing_secret and headers are sealed.
CREATE TABLE destination (
  seq                 INTEGER PRIMARY KEY,
  id                  TEXT NOT NULL UNIQUE,
  webhook_id          TEXT NOT NULL,
  status              TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'archived')),
  scope               TEXT NOT NULL CHECK (scope IN ('all', 'selected')),
  name                TEXT NOT NULL,
  description         TEXT NOT NULL,
  metadata            BLOB,
  url                 TEXT NOT NULL,
  method              TEXT NOT NULL,
  headers             BLOB,
  event_types         BLOB,
  retry_type          TEXT NOT NULL CHECK (retry_type IN ('schedule', 'linear', 'exponential')),
  retry_max_attempts  INTEGER NOT NULL,
  retry_delay_seconds INTEGER NOT NULL,
  timeout_seconds     INTEGER NOT NULL,
  max_in_flight       INTEGER NOT NULL,
  signing_secret      BLOB NOT NULL,
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL
) STRICT;

-- A function destination ("func:NAME") is one row for ever, found by its URL.
CREATE UNIQUE INDEX destination_function ON destination (url) WHERE url GLOB 'func:*';
CREATE INDEX destination_status ON destination (status);
CREATE INDEX destination_all ON destination (seq) WHERE scope = 'all';

-- What is watched, and for whom.

CREATE TABLE callback (
  seq                            INTEGER PRIMARY KEY,
  id                             TEXT NOT NULL UNIQUE,
  deployment_seq                 INTEGER NOT NULL REFERENCES provider_deployment (seq),
  status                         TEXT NOT NULL CHECK (status IN ('active', 'archived')),
  name                           TEXT NOT NULL,
  description                    TEXT NOT NULL,
  metadata                       BLOB,
  poll_interval_seconds_override INTEGER NOT NULL,
  retention_seconds              INTEGER NOT NULL,
  created_at                     INTEGER NOT NULL,
  updated_at                     INTEGER NOT NULL
) STRICT;

CREATE INDEX callback_status ON callback (status);
CREATE INDEX callback_deployment ON callback (deployment_seq, status);

CREATE TABLE callback_trigger (
  seq                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  callback_seq         INTEGER NOT NULL REFERENCES callback (seq),
  provider_trigger_seq INTEGER NOT NULL REFERENCES provider_trigger (seq),
  event_types          BLOB,
  created_at           INTEGER NOT NULL,
  UNIQUE (callback_seq, provider_trigger_seq)
) STRICT;

CREATE TABLE callback_destination (
  callback_seq    INTEGER NOT NULL REFERENCES callback (seq),
  destination_seq INTEGER NOT NULL REFERENCES destination (seq),
  PRIMARY KEY (callback_seq, destination_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX callback_destination_destination ON callback_destination (destination_seq);

CREATE TABLE instance (
  seq             INTEGER PRIMARY KEY,
  id              TEXT NOT NULL UNIQUE,
  callback_seq    INTEGER NOT NULL REFERENCES callback (seq),
  config_seq      INTEGER NOT NULL REFERENCES provider_config (seq),
  auth_config_seq INTEGER REFERENCES provider_auth_config (seq),
  status          TEXT NOT NULL CHECK (status IN ('attached', 'detached')),
  baseline        TEXT CHECK (baseline IN ('emit', 'skip')),
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX instance_pair ON instance (callback_seq, config_seq, coalesce(auth_config_seq, 0));
CREATE INDEX instance_callback ON instance (callback_seq, status);
CREATE INDEX instance_config ON instance (config_seq);
CREATE INDEX instance_auth_config ON instance (auth_config_seq) WHERE auth_config_seq IS NOT NULL;

-- One watched thing. It is attended to if and only if next_poll_at is not null: then it is polled, or, if
-- it has a webhook, its registration at the source is looked after; when nothing is to be looked after, that
-- is in the year 9999. A next_poll_at that is fixed is a time of the wall clock, and stays when the clock is
-- set. A trigger that its callback no longer names stays as a row (enabled = 0), so that its state is there
-- when it is named again. The revision counts changes of what it polls with: a poll that was begun before one
-- does not count.
--
-- A webhook is registered at its source if and only if registered_url is not null: with that URL, at that
-- revision; registration is what the source said, sealed. One that is wanted no longer has unregister_at.
CREATE TABLE instance_trigger (
  seq                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  instance_seq         INTEGER NOT NULL REFERENCES instance (seq),
  provider_trigger_seq INTEGER NOT NULL REFERENCES provider_trigger (seq),
  enabled              INTEGER NOT NULL CHECK (enabled = 0 OR enabled = 1),
  status               TEXT NOT NULL CHECK (status = 'active' OR status = 'paused' OR status = 'failing'),
  baseline             TEXT NOT NULL CHECK (baseline = 'emit' OR baseline = 'skip' OR baseline = 'done'),
  revision             INTEGER NOT NULL,
  state                BLOB,
  next_poll_at         INTEGER,
  last_polled_at       INTEGER,
  consecutive_failures INTEGER NOT NULL,
  error_code           TEXT,
  error_message        TEXT,
  created_at           INTEGER NOT NULL,
  updated_at           INTEGER NOT NULL,
  next_poll_fixed      INTEGER NOT NULL DEFAULT 0 CHECK (next_poll_fixed = 0 OR next_poll_fixed = 1),
  last_received_at     INTEGER,
  last_lag_ms          INTEGER,
  last_duration_ms     INTEGER,
  last_items           INTEGER,
  registered_url       TEXT,
  registered_revision  INTEGER,
  registration         BLOB,
  unregister_at        INTEGER,
  UNIQUE (instance_seq, provider_trigger_seq)
) STRICT;

CREATE INDEX instance_trigger_due ON instance_trigger (next_poll_at) WHERE next_poll_at IS NOT NULL;
CREATE INDEX instance_trigger_unwanted ON instance_trigger (unregister_at) WHERE unregister_at IS NOT NULL;

-- The kinds of events that a callback has had. Events refer to them, which is smaller than to say their
-- type each time, and one index then serves the filters by type and by trigger.
CREATE TABLE event_type (
  seq          INTEGER PRIMARY KEY,
  callback_seq INTEGER NOT NULL REFERENCES callback (seq),
  type         TEXT NOT NULL,
  trigger_key  TEXT NOT NULL,
  UNIQUE (callback_seq, type, trigger_key)
) STRICT;

CREATE INDEX event_type_trigger ON event_type (callback_seq, trigger_key);

-- What happened. The payload has a table of its own, so that an outcome, which updates its event's
-- counts, rewrites a small row. An event's notifications are made together, so that the first one's
-- number and their count tell them all.
CREATE TABLE event (
  seq                    INTEGER PRIMARY KEY,
  id                     TEXT NOT NULL,
  callback_seq           INTEGER NOT NULL REFERENCES callback (seq),
  type_seq               INTEGER NOT NULL REFERENCES event_type (seq),
  instance_trigger_seq   INTEGER REFERENCES instance_trigger (seq),
  source_id              TEXT NOT NULL,
  status                 TEXT NOT NULL CHECK (status = 'pending' OR status = 'processing' OR status = 'retrying' OR status = 'succeeded' OR status = 'failed' OR status = 'skipped'),
  delivery_status        TEXT NOT NULL CHECK (delivery_status = 'pending' OR delivery_status = 'sent' OR delivery_status = 'failed' OR delivery_status = 'skipped'),
  error_code             TEXT,
  error_message          TEXT,
  first_notification_seq INTEGER,
  destination_count      INTEGER NOT NULL,
  success_count          INTEGER NOT NULL,
  failure_count          INTEGER NOT NULL,
  map_attempts           INTEGER NOT NULL,
  next_map_at            INTEGER,
  created_at             INTEGER NOT NULL,
  updated_at             INTEGER NOT NULL
) STRICT;

CREATE INDEX event_by_type ON event (type_seq);
CREATE INDEX event_by_trigger ON event (instance_trigger_seq) WHERE instance_trigger_seq IS NOT NULL;
CREATE INDEX event_status ON event (callback_seq, status, delivery_status);
CREATE INDEX event_unmapped ON event (next_map_at) WHERE next_map_at IS NOT NULL;
CREATE INDEX event_mapping_error ON event (instance_trigger_seq) WHERE error_code IS NOT NULL;

-- An input that is '=' is the same as the output, byte for byte, as that of most sources is.
CREATE TABLE event_payload (
  event_seq INTEGER PRIMARY KEY REFERENCES event (seq),
  input     BLOB,
  output    BLOB
) STRICT;

-- What has been seen, for ever: rows stay when retention removes their events. The key is the source id
-- itself, or a digest of a long one (store/dedup.go). instance_trigger_seq is 0 for published events;
-- event_seq is null for what a baseline skipped. A published event whose source id is its own id has
-- none; one whose input is not mapped has that of a name for the input.
CREATE TABLE event_key (
  callback_seq         INTEGER NOT NULL,
  key                  BLOB NOT NULL,
  instance_trigger_seq INTEGER NOT NULL,
  event_seq            INTEGER,
  PRIMARY KEY (callback_seq, key, instance_trigger_seq)
) STRICT, WITHOUT ROWID;

-- One event on its way to one destination. event_seq is a reference that is not declared as one, because
-- to enforce it, an event's removal would need an index by event.
CREATE TABLE notification (
  seq             INTEGER PRIMARY KEY,
  id              TEXT NOT NULL,
  callback_seq    INTEGER NOT NULL REFERENCES callback (seq),
  event_seq       INTEGER NOT NULL,
  destination_seq INTEGER NOT NULL REFERENCES destination (seq),
  status          TEXT NOT NULL CHECK (status = 'pending' OR status = 'retrying' OR status = 'delivered' OR status = 'failed'),
  attempt_count   INTEGER NOT NULL,
  next_attempt_at INTEGER,
  error_code      TEXT,
  error_message   TEXT,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  CHECK ((next_attempt_at IS NULL) = (status = 'delivered' OR status = 'failed'))
) STRICT;

CREATE INDEX notification_status ON notification (callback_seq, status);
CREATE INDEX notification_destination ON notification (callback_seq, destination_seq, status);
CREATE INDEX notification_due ON notification (destination_seq, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE attempt (
  notification_seq INTEGER NOT NULL REFERENCES notification (seq),
  attempt_number   INTEGER NOT NULL,
  id               TEXT NOT NULL,
  status           TEXT NOT NULL CHECK (status = 'succeeded' OR status = 'failed'),
  error_code       TEXT,
  error_message    TEXT,
  status_code      INTEGER,
  response_headers BLOB,
  response_body    BLOB,
  started_at       INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  PRIMARY KEY (notification_seq, attempt_number)
) STRICT, WITHOUT ROWID;

-- Ids of events and notifications that older versions stored out of their order, when the clock had been
-- set back: none, nearly always. meta says up to which row they may be (store/lookup.go).
CREATE TABLE unordered_id (
  id  TEXT NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
