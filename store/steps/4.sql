-- From schema version 3 to 4: triggers with webhooks, which are registered at their sources; what a
-- trigger's last poll was like; what providers make of auth configs.

ALTER TABLE provider_trigger ADD COLUMN min_interval_seconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE provider_trigger ADD COLUMN auto_registration INTEGER NOT NULL DEFAULT 0 CHECK (auto_registration = 0 OR auto_registration = 1);
ALTER TABLE provider_trigger ADD COLUMN auto_unregistration INTEGER NOT NULL DEFAULT 0 CHECK (auto_unregistration = 0 OR auto_unregistration = 1);

ALTER TABLE provider_auth_method ADD COLUMN output_schema BLOB;

ALTER TABLE provider_auth_config ADD COLUMN prepared BLOB;
ALTER TABLE provider_auth_config ADD COLUMN renew_at INTEGER;

ALTER TABLE instance_trigger ADD COLUMN next_poll_fixed INTEGER NOT NULL DEFAULT 0 CHECK (next_poll_fixed = 0 OR next_poll_fixed = 1);
ALTER TABLE instance_trigger ADD COLUMN last_received_at INTEGER;
ALTER TABLE instance_trigger ADD COLUMN last_lag_ms INTEGER;
ALTER TABLE instance_trigger ADD COLUMN last_duration_ms INTEGER;
ALTER TABLE instance_trigger ADD COLUMN last_items INTEGER;
ALTER TABLE instance_trigger ADD COLUMN registered_url TEXT;
ALTER TABLE instance_trigger ADD COLUMN registered_revision INTEGER;
ALTER TABLE instance_trigger ADD COLUMN registration BLOB;
ALTER TABLE instance_trigger ADD COLUMN unregister_at INTEGER;

CREATE INDEX instance_trigger_unwanted ON instance_trigger (unregister_at) WHERE unregister_at IS NOT NULL;
