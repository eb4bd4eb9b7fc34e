package store

import "encoding/json"

// invariant is a rule that holds for every file, at every instant between two transactions.
// Its query returns a line for each row that breaks it, and walks tables in the order of their
// keys: no sorting, and no memory that grows with the file.
type invariant struct {
	rule  string // what should be so, in words
	query string
}

// invariants are what the engine relies on, beyond what the schema itself says. dedup_key is
// dedupKey.
var invariants = []invariant{
	{"every event has its payload", `
SELECT 'event ' || e.id
FROM event AS e LEFT JOIN event_payload AS p ON p.event_seq = e.seq
WHERE p.event_seq IS NULL`},

	{"an event's type belongs to its callback", `
SELECT 'event ' || e.id
FROM event AS e JOIN event_type AS y ON y.seq = e.type_seq
WHERE y.callback_seq <> e.callback_seq`},

	{"an event counts its notifications, one for each destination: all, the delivered and the failed ones", `
SELECT printf('event %s: destination_count is %d, with %d notifications for %d destinations; success_count is %d, with %d delivered; failure_count is %d, with %d failed',
  e.id, e.destination_count, count(n.seq), count(DISTINCT n.destination_seq), e.success_count, total(n.status = 'delivered'), e.failure_count, total(n.status = 'failed'))
FROM event AS e LEFT JOIN notification AS n ON n.seq BETWEEN e.first_notification_seq AND e.first_notification_seq + e.destination_count - 1 AND +n.event_seq = e.seq
GROUP BY e.seq
HAVING e.destination_count <> count(n.seq) OR e.destination_count <> count(DISTINCT n.destination_seq)
  OR e.success_count <> total(n.status = 'delivered') OR e.failure_count <> total(n.status = 'failed')`},

	{"an event's delivery_status is what its counts say", `
SELECT printf('event %s: delivery_status is %s, status %s, destination_count %d, success_count %d, failure_count %d',
  e.id, e.delivery_status, e.status, e.destination_count, e.success_count, e.failure_count)
FROM event AS e
WHERE e.delivery_status <> CASE
  WHEN e.status = 'retrying' THEN 'pending'
  WHEN e.destination_count = 0 THEN 'skipped'
  WHEN e.success_count + e.failure_count < e.destination_count THEN 'pending'
  WHEN e.failure_count > 0 THEN 'failed'
  ELSE 'sent' END`},

	// Lists of all events walk these states, and no others.
	{"an event's status and delivery_status are a pair that events have", `
SELECT printf('event %s: status is %s, delivery_status %s', e.id, e.status, e.delivery_status)
FROM event AS e
WHERE NOT EXISTS (SELECT 1 FROM json_each('` + eventStatesJSON() + `') AS s WHERE s.value ->> 0 = e.status AND s.value ->> 1 = e.delivery_status)`},

	{"only an event that was mapped has notifications", `
SELECT printf('event %s: status is %s, destination_count %d', e.id, e.status, e.destination_count)
FROM event AS e
WHERE e.destination_count > 0 AND e.status <> 'succeeded'`},

	{"an event is mapped again if and only if its status is retrying", `
SELECT printf('event %s: status is %s, next_map_at %s', e.id, e.status, coalesce(e.next_map_at, 'null'))
FROM event AS e
WHERE (e.status = 'retrying') <> (e.next_map_at IS NOT NULL)`},

	{"every event is found by its source id", `
SELECT printf('event %s: source_id %s', e.id, e.source_id)
FROM event AS e
WHERE e.source_id <> e.id AND NOT EXISTS (SELECT 1 FROM event_key AS k
  WHERE k.callback_seq = e.callback_seq AND k.key = dedup_key(e.source_id) AND k.instance_trigger_seq = coalesce(e.instance_trigger_seq, 0) AND k.event_seq = e.seq)`},

	// The next event has the number after the newest one's. A key that points past it would
	// point to an event that is not its own.
	{"a source id's key points to an event of its callback and trigger, or to one that was removed", `
SELECT printf('the key x''%s'' of callback %d points to event number %d', hex(k.key), k.callback_seq, k.event_seq)
FROM event_key AS k LEFT JOIN event AS e ON e.seq = k.event_seq
WHERE k.event_seq IS NOT NULL AND iif(e.seq IS NULL, k.event_seq > (SELECT coalesce(max(x.seq), 0) FROM event AS x),
  e.callback_seq <> k.callback_seq OR coalesce(e.instance_trigger_seq, 0) <> k.instance_trigger_seq)`},

	{"every notification has its event, of the same callback, which knows of it", `
SELECT 'notification ' || n.id
FROM notification AS n LEFT JOIN event AS e ON e.seq = n.event_seq
WHERE e.seq IS NULL OR e.callback_seq <> n.callback_seq OR e.first_notification_seq IS NULL
  OR n.seq NOT BETWEEN e.first_notification_seq AND e.first_notification_seq + e.destination_count - 1`},

	{"a notification's status agrees with next_attempt_at and attempt_count", `
SELECT printf('notification %s: status is %s, next_attempt_at %s, attempt_count %d', n.id, n.status, coalesce(n.next_attempt_at, 'null'), n.attempt_count)
FROM notification AS n
WHERE (n.status = 'pending' OR n.status = 'retrying') <> (n.next_attempt_at IS NOT NULL)
  OR n.status = 'pending' AND n.attempt_count <> 0 OR (n.status = 'retrying' OR n.status = 'delivered') AND n.attempt_count = 0`},

	{"a notification counts its attempts, which are numbered from 1, and of which only the last one of a delivered notification succeeded", `
SELECT printf('notification %s: status is %s, attempt_count %d, with %d attempts numbered to %d, of which %d succeeded', n.id, n.status, n.attempt_count,
  count(a.attempt_number), coalesce(max(a.attempt_number), 0), total(a.status = 'succeeded'))
FROM notification AS n LEFT JOIN attempt AS a ON a.notification_seq = n.seq
GROUP BY n.seq
HAVING n.attempt_count <> count(a.attempt_number) OR n.attempt_count <> coalesce(max(a.attempt_number), 0) OR min(a.attempt_number) < 1
  OR total(a.status = 'succeeded') <> (n.status = 'delivered')
  OR total(a.status = 'succeeded' AND a.attempt_number = n.attempt_count) <> (n.status = 'delivered')`},

	{"a trigger is polled only while it is enabled and not paused, its instance attached and its callback active", `
SELECT printf('trigger %s of instance %s: enabled is %d, status %s, instance %s, callback %s', t.id, i.id, t.enabled, t.status, i.status, c.status)
FROM instance_trigger AS t JOIN instance AS i ON i.seq = t.instance_seq JOIN callback AS c ON c.seq = i.callback_seq
WHERE t.next_poll_at IS NOT NULL AND NOT (t.enabled = 1 AND t.status <> 'paused' AND i.status = 'attached' AND c.status = 'active')`},

	{"a webhook is known to its source if and only if it was registered with a URL", `
SELECT printf('trigger %s: registered_url is %s, registered_revision %s, registration %s', t.id, coalesce(t.registered_url, 'null'), coalesce(t.registered_revision, 'null'),
  iif(t.registration IS NULL, 'null', 'there'))
FROM instance_trigger AS t
WHERE (t.registered_url IS NULL) <> (t.registered_revision IS NULL) OR t.registered_url IS NULL AND t.registration IS NOT NULL`},

	{"a webhook is to be taken back only if it is registered and wanted no longer", `
SELECT printf('trigger %s: unregister_at is %d, registered_url %s, next_poll_at %s', t.id, t.unregister_at, coalesce(t.registered_url, 'null'), coalesce(t.next_poll_at, 'null'))
FROM instance_trigger AS t
WHERE t.unregister_at IS NOT NULL AND (t.registered_url IS NULL OR t.next_poll_at IS NOT NULL)`},

	{"a trigger that is enabled, its instance attached and its callback active is polled unless it is paused", `
SELECT printf('trigger %s of instance %s: status is %s, next_poll_at null', t.id, i.id, t.status)
FROM instance_trigger AS t JOIN instance AS i ON i.seq = t.instance_seq JOIN callback AS c ON c.seq = i.callback_seq
WHERE t.next_poll_at IS NULL AND t.enabled = 1 AND t.status <> 'paused' AND i.status = 'attached' AND c.status = 'active'`},

	// Up to the rows that are noted in meta, times and ids may be out of order.
	{"events are stored in the order of their times and ids", ascending("event")},
	{"notifications are stored in the order of their times and ids", ascending("notification")},
}

func ascending(table string) string {
	return `
SELECT printf('` + table + ` %s of %d comes after %s of %d', r.id, r.created_at, p.id, p.created_at)
FROM ` + table + ` AS r JOIN ` + table + ` AS p ON p.seq = (SELECT max(x.seq) FROM ` + table + ` AS x WHERE x.seq < r.seq)
WHERE r.created_at < p.created_at AND p.seq > coalesce((SELECT json_extract(CAST(m.value AS TEXT), '$[0]') FROM meta AS m WHERE m.key = '` + disorderKey(table) + `'), 0)
  OR r.id <= p.id AND p.seq >= coalesce((SELECT CAST(CAST(m.value AS TEXT) AS INTEGER) FROM meta AS m WHERE m.key = '` + unorderedKey(table) + `'), 0)`
}

func eventStatesJSON() string {
	b, _ := json.Marshal(eventStates) // strings always marshal
	return string(b)
}
