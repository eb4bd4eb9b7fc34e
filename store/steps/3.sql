-- From schema version 2 to 3: events and notifications are found by their ids without an index of them,
-- an event tells its notifications, published events without a source id need no key, and callbacks say
-- how long their events are kept.

-- Ids ascend with row numbers, but for those that were made after the clock had been set back: all up to
-- the last of these are noted.
CREATE TABLE unordered_id (
  id  TEXT NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value)
SELECT 'event_unordered', CAST(CAST(max(seq) AS TEXT) AS BLOB) FROM (SELECT seq, id < max(id) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS late FROM event) WHERE late HAVING count(*) > 0;
INSERT INTO meta (key, value)
SELECT 'notification_unordered', CAST(CAST(max(seq) AS TEXT) AS BLOB) FROM (SELECT seq, id < max(id) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS late FROM notification) WHERE late HAVING count(*) > 0;
INSERT INTO unordered_id SELECT id, seq FROM event WHERE seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'event_unordered');
INSERT INTO unordered_id SELECT id, seq FROM notification WHERE seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'notification_unordered');

CREATE TABLE callback_3 (
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

INSERT INTO callback_3
SELECT seq, id, deployment_seq, status, name, description, metadata, poll_interval_seconds_override, 0, created_at, updated_at FROM callback;
DROP TABLE callback;
ALTER TABLE callback_3 RENAME TO callback;

CREATE INDEX callback_status ON callback (status);
CREATE INDEX callback_deployment ON callback (deployment_seq, status);

CREATE TABLE event_3 (
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

INSERT INTO event_3
SELECT e.seq, e.id, e.callback_seq, e.type_seq, e.instance_trigger_seq, e.source_id, e.status, e.delivery_status, e.error_code, e.error_message,
  (SELECT min(n.seq) FROM notification AS n WHERE n.event_seq = e.seq),
  e.destination_count, e.success_count, e.failure_count, e.map_attempts, e.next_map_at, e.created_at, e.updated_at
FROM event AS e;
DROP TABLE event;
ALTER TABLE event_3 RENAME TO event;

CREATE INDEX event_by_type ON event (type_seq);
CREATE INDEX event_by_trigger ON event (instance_trigger_seq) WHERE instance_trigger_seq IS NOT NULL;
CREATE INDEX event_status ON event (callback_seq, status, delivery_status);
CREATE INDEX event_unmapped ON event (next_map_at) WHERE next_map_at IS NOT NULL;
CREATE INDEX event_mapping_error ON event (instance_trigger_seq) WHERE error_code IS NOT NULL;

CREATE TABLE notification_3 (
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

INSERT INTO notification_3 SELECT * FROM notification;
DROP TABLE notification;
ALTER TABLE notification_3 RENAME TO notification;

CREATE INDEX notification_status ON notification (callback_seq, status);
CREATE INDEX notification_destination ON notification (callback_seq, destination_seq, status);
CREATE INDEX notification_due ON notification (destination_seq, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

DELETE FROM event_key
WHERE instance_trigger_seq = 0 AND (SELECT e.source_id = e.id FROM event AS e WHERE e.seq = event_key.event_seq);
