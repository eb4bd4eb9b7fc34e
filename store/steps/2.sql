-- From schema version 1 to 2: indexes for every filter of a list, events refer to their type, attempts
-- are kept by their notification, and checks are written as SQLite runs them fastest.

DROP INDEX provider_deployment_provider;
DROP INDEX provider_config_deployment;
DROP INDEX provider_auth_config_deployment;
DROP INDEX callback_deployment;
DROP INDEX instance_callback;

CREATE INDEX provider_deployment_status ON provider_deployment (status);
CREATE INDEX provider_deployment_provider ON provider_deployment (provider_seq, status);
CREATE INDEX provider_config_status ON provider_config (status);
CREATE INDEX provider_config_provider ON provider_config (provider_seq, status);
CREATE INDEX provider_config_deployment ON provider_config (deployment_seq, status);
CREATE INDEX provider_auth_config_status ON provider_auth_config (status);
CREATE INDEX provider_auth_config_provider ON provider_auth_config (provider_seq, status);
CREATE INDEX provider_auth_config_deployment ON provider_auth_config (deployment_seq, status);
CREATE INDEX destination_status ON destination (status);
CREATE INDEX callback_status ON callback (status);
CREATE INDEX callback_deployment ON callback (deployment_seq, status);
CREATE INDEX instance_callback ON instance (callback_seq, status);

CREATE TABLE instance_trigger_2 (
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
  UNIQUE (instance_seq, provider_trigger_seq)
) STRICT;

INSERT INTO instance_trigger_2 SELECT * FROM instance_trigger;
DROP TABLE instance_trigger;
ALTER TABLE instance_trigger_2 RENAME TO instance_trigger;

CREATE INDEX instance_trigger_due ON instance_trigger (next_poll_at) WHERE next_poll_at IS NOT NULL;

CREATE TABLE event_type (
  seq          INTEGER PRIMARY KEY,
  callback_seq INTEGER NOT NULL REFERENCES callback (seq),
  type         TEXT NOT NULL,
  trigger_key  TEXT NOT NULL,
  UNIQUE (callback_seq, type, trigger_key)
) STRICT;

CREATE INDEX event_type_trigger ON event_type (callback_seq, trigger_key);

INSERT INTO event_type (callback_seq, type, trigger_key)
SELECT DISTINCT e.callback_seq, e.type, coalesce(pt.key, 'publish')
FROM event AS e
LEFT JOIN instance_trigger AS t ON t.seq = e.instance_trigger_seq
LEFT JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq;

CREATE TABLE event_2 (
  seq                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  callback_seq         INTEGER NOT NULL REFERENCES callback (seq),
  type_seq             INTEGER NOT NULL REFERENCES event_type (seq),
  instance_trigger_seq INTEGER REFERENCES instance_trigger (seq),
  source_id            TEXT NOT NULL,
  status               TEXT NOT NULL CHECK (status = 'pending' OR status = 'processing' OR status = 'retrying' OR status = 'succeeded' OR status = 'failed' OR status = 'skipped'),
  delivery_status      TEXT NOT NULL CHECK (delivery_status = 'pending' OR delivery_status = 'sent' OR delivery_status = 'failed' OR delivery_status = 'skipped'),
  error_code           TEXT,
  error_message        TEXT,
  destination_count    INTEGER NOT NULL,
  success_count        INTEGER NOT NULL,
  failure_count        INTEGER NOT NULL,
  map_attempts         INTEGER NOT NULL,
  next_map_at          INTEGER,
  created_at           INTEGER NOT NULL,
  updated_at           INTEGER NOT NULL
) STRICT;

INSERT INTO event_2
SELECT e.seq, e.id, e.callback_seq, y.seq, e.instance_trigger_seq, e.source_id, e.status, e.delivery_status, e.error_code, e.error_message,
  e.destination_count, e.success_count, e.failure_count, e.map_attempts, e.next_map_at, e.created_at, e.updated_at
FROM event AS e
LEFT JOIN instance_trigger AS t ON t.seq = e.instance_trigger_seq
LEFT JOIN provider_trigger AS pt ON pt.seq = t.provider_trigger_seq
JOIN event_type AS y ON y.callback_seq = e.callback_seq AND y.type = e.type AND y.trigger_key = coalesce(pt.key, 'publish');
DROP TABLE event;
ALTER TABLE event_2 RENAME TO event;

CREATE INDEX event_callback ON event (callback_seq);
CREATE INDEX event_by_type ON event (type_seq);
CREATE INDEX event_by_trigger ON event (instance_trigger_seq) WHERE instance_trigger_seq IS NOT NULL;
CREATE INDEX event_status ON event (callback_seq, status, delivery_status);
CREATE INDEX event_unmapped ON event (next_map_at) WHERE next_map_at IS NOT NULL;
CREATE INDEX event_mapping_error ON event (instance_trigger_seq) WHERE error_code IS NOT NULL;

CREATE TABLE notification_2 (
  seq             INTEGER PRIMARY KEY,
  id              TEXT NOT NULL UNIQUE,
  callback_seq    INTEGER NOT NULL REFERENCES callback (seq),
  event_seq       INTEGER NOT NULL REFERENCES event (seq),
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

INSERT INTO notification_2
SELECT seq, id, callback_seq, event_seq, destination_seq, status, attempt_count, next_attempt_at, error_code, error_message, created_at, updated_at
FROM notification;
DROP TABLE notification;
ALTER TABLE notification_2 RENAME TO notification;

CREATE INDEX notification_callback ON notification (callback_seq);
CREATE INDEX notification_status ON notification (callback_seq, status);
CREATE INDEX notification_destination ON notification (callback_seq, destination_seq, status);
CREATE INDEX notification_event ON notification (event_seq);
CREATE INDEX notification_due ON notification (destination_seq, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE attempt_2 (
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

INSERT INTO attempt_2 SELECT notification_seq, attempt_number, id, status, error_code, error_message, status_code, response_headers, response_body, started_at, duration_ms FROM attempt;
DROP TABLE attempt;
ALTER TABLE attempt_2 RENAME TO attempt;

-- Rows of old may be dated a little out of order.
INSERT INTO meta (key, value) SELECT 'event_disorder', CAST(json_array(max(seq), max(created_at)) AS BLOB) FROM event HAVING count(*) > 0;
INSERT INTO meta (key, value) SELECT 'notification_disorder', CAST(json_array(max(seq), max(created_at)) AS BLOB) FROM notification HAVING count(*) > 0;
