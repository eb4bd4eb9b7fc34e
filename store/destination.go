package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Scopes of a destination.
const (
	ScopeAll      = "all"      // every callback, also those made later
	ScopeSelected = "selected" // those that name it
)

// FunctionScheme begins the URL of a destination that is a function of this process.
const FunctionScheme = "func:"

// Retry says when a failed delivery is tried again.
type Retry struct {
	Type        string        // "schedule", "linear" or "exponential"
	MaxAttempts int           // in all, the first included
	Delay       time.Duration // the first delay, in whole seconds; of no meaning for "schedule"
}

// Destination is where events are sent.
type Destination struct {
	ID        string
	WebhookID string
	Status    string // "active", "disabled" (it answered 410) or "archived"
	DestinationSettings
	CallbackIDs   []string // the callbacks that name it, or that it names
	SigningSecret string
	CreatedAt     time.Time
	UpdatedAt     time.Time

	// How its attempts go, which is not in the file: the engine fills it in.
	ConsecutiveFailures int      // attempts that failed since the last that did not, since the start
	LastError           *Failure // of the last of them; nil: none has failed
}

// DestinationSettings are what users choose about a destination.
type DestinationSettings struct {
	Name        string
	Description string
	Metadata    json.RawMessage // nil: none
	Scope       string          // ScopeAll or ScopeSelected
	URL         string
	Method      string
	Headers     map[string]string
	EventTypes  []string // empty: all
	Retry       Retry
	Timeout     time.Duration // in whole seconds
	MaxInFlight int           // attempts at a time
}

// NewDestination is a destination to be made.
type NewDestination struct {
	DestinationSettings
	CallbackIDs   []string // linked at once
	SigningSecret string
}

// CreateDestination makes a destination.
func (s *Store) CreateDestination(ctx context.Context, now time.Time, n NewDestination) (out Destination, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := tx.insertDestination(ms(now), n)
		if err != nil {
			return err
		}
		out, err = tx.destination(seq)
		return err
	})
	return out, err
}

func (tx *tx) insertDestination(now int64, n NewDestination) (int64, error) {
	clear(tx.w.routings)
	id := tx.id(prefixDestination)
	secret, err := tx.w.s.sealer.seal("destination.signing_secret:"+id, []byte(n.SigningSecret))
	if err != nil {
		return 0, err
	}
	headers, err := tx.w.s.sealHeaders(id, n.Headers)
	if err != nil {
		return 0, err
	}
	seq, err := tx.q.InsertDestination(tx.ctx, db.InsertDestinationParams{ID: id, WebhookID: tx.id(prefixWebhook), Scope: n.Scope,
		Name: n.Name, Description: n.Description, Metadata: n.Metadata, URL: n.URL, Method: n.Method, Headers: headers, EventTypes: stringList(n.EventTypes),
		RetryType: n.Retry.Type, RetryMaxAttempts: int64(n.Retry.MaxAttempts), RetryDelaySeconds: seconds(n.Retry.Delay),
		TimeoutSeconds: seconds(n.Timeout), MaxInFlight: int64(n.MaxInFlight), SigningSecret: secret, Now: now})
	if err != nil {
		return 0, err
	}
	callbacks, err := resolveCallbacks(tx.ctx, tx.q, n.CallbackIDs)
	if err != nil {
		return 0, err
	}
	for _, callback := range callbacks {
		if err := tx.q.LinkDestination(tx.ctx, callback, seq); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

// CheckCallbacks tells which ids are of no active callback, by an InvalidReferencesError,
// and changes nothing.
func (s *Store) CheckCallbacks(ctx context.Context, ids []string) error {
	_, err := resolveCallbacks(ctx, s.read, ids)
	return err
}

// resolveCallbacks finds active callbacks. The error names every id that is of none.
func resolveCallbacks(ctx context.Context, q *db.Queries, ids []string) (seqs []int64, err error) {
	var wrong InvalidReferencesError
	for i, id := range ids {
		row, err := q.CallbackSeq(ctx, id)
		if errors.Is(err, sql.ErrNoRows) || err == nil && row.Status != "active" {
			wrong = append(wrong, Reference{Entity: "callback", ID: id, Index: i})
			continue
		}
		if err != nil {
			return nil, err
		}
		seqs = append(seqs, row.Seq)
	}
	if wrong != nil {
		return nil, wrong
	}
	return seqs, nil
}

// UpdateDestination changes a destination that is not archived. change sees the present
// settings and status; setting the status to "active" revives a disabled one.
func (s *Store) UpdateDestination(ctx context.Context, now time.Time, id string, change func(settings *DestinationSettings, status *string) error) (out Destination, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, old, err := findActive(tx, "destination", "callback.destination", id, tx.w.s.destinationLoader(tx.q))
		if err != nil {
			return err
		}
		n, status := old.DestinationSettings, old.Status
		if err := change(&n, &status); err != nil {
			return err
		}
		headers, err := s.sealHeaders(id, n.Headers)
		if err != nil {
			return err
		}
		clear(tx.w.routings)
		if err := tx.q.UpdateDestination(tx.ctx, db.UpdateDestinationParams{Seq: seq, Status: status, Name: n.Name, Description: n.Description, Metadata: n.Metadata,
			URL: n.URL, Method: n.Method, Headers: headers, EventTypes: stringList(n.EventTypes),
			RetryType: n.Retry.Type, RetryMaxAttempts: int64(n.Retry.MaxAttempts), RetryDelaySeconds: seconds(n.Retry.Delay),
			TimeoutSeconds: seconds(n.Timeout), MaxInFlight: int64(n.MaxInFlight), Now: ms(now)}); err != nil {
			return err
		}
		out, err = tx.destination(seq)
		return err
	})
	return out, err
}

// EndDestination makes a destination "archived" or "disabled", if url is empty or what it
// has still. It gets no new notifications; those that are open end by
// [Store.FailNotifications].
func (s *Store) EndDestination(ctx context.Context, now time.Time, id, status, url string) (out Destination, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := seqOf(tx.ctx, tx.conn, "destination", id)
		if err != nil {
			return notFound(err, "callback.destination", id)
		}
		if out, err = tx.destination(seq); err != nil || out.Status == "archived" || url != "" && out.URL != url {
			return err
		}
		clear(tx.w.routings)
		if err := tx.q.SetDestinationStatus(tx.ctx, db.SetDestinationStatusParams{Seq: seq, Status: status, Now: ms(now)}); err != nil {
			return err
		}
		out, err = tx.destination(seq)
		return err
	})
	return out, err
}

// SyncFunctions makes the destinations of this process's functions, which are found by
// their URL, and gives them the settings that the code has.
func (s *Store) SyncFunctions(ctx context.Context, now time.Time, functions []NewDestination) error {
	return s.write(ctx, func(tx *tx) error {
		for _, n := range functions {
			if err := tx.syncFunction(ms(now), n); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tx *tx) syncFunction(now int64, n NewDestination) error {
	seq, err := tx.q.DestinationByURL(tx.ctx, n.URL)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.insertDestination(now, n)
		return err
	}
	if err != nil {
		return err
	}
	old, err := tx.destination(seq)
	if err != nil || old.Status == "active" && reflect.DeepEqual(old.DestinationSettings, n.DestinationSettings) {
		return err
	}
	clear(tx.w.routings)
	return tx.q.UpdateDestination(tx.ctx, db.UpdateDestinationParams{Seq: seq, Status: "active", Name: n.Name, Description: n.Description,
		URL: n.URL, Method: n.Method, EventTypes: stringList(n.EventTypes),
		RetryType: n.Retry.Type, RetryMaxAttempts: int64(n.Retry.MaxAttempts), RetryDelaySeconds: seconds(n.Retry.Delay),
		TimeoutSeconds: seconds(n.Timeout), MaxInFlight: int64(n.MaxInFlight), Now: now})
}

// DestinationFilter narrows the list of destinations.
type DestinationFilter struct {
	IDs       []string
	Callbacks []string // ids: destinations with scope "all" and those linked to one of them
	Statuses  []string // default: active and disabled
	Created   Range
	Updated   Range
}

// ListDestinations lists destinations.
func (s *Store) ListDestinations(ctx context.Context, f DestinationFilter, p Page) (List[Destination], error) {
	sel := selectFrom("destination").ids(f.IDs).statuses(f.Statuses, "active", "disabled").
		during("created_at", f.Created).during("updated_at", f.Updated)
	if len(f.Callbacks) > 0 {
		sel.and(`(t.scope = 'all' OR t.seq IN (SELECT cd.destination_seq FROM callback_destination AS cd JOIN callback AS c ON c.seq = cd.callback_seq
			WHERE c.id IN (SELECT value FROM json_each(?))))`, jsonText(f.Callbacks))
	}
	return list(ctx, s, sel, p, s.destinationLoader(s.read))
}

// Destination finds one by its id, or by its URL if it is a function.
func (s *Store) Destination(ctx context.Context, id string) (Destination, error) {
	if len(id) > len(FunctionScheme) && id[:len(FunctionScheme)] == FunctionScheme {
		seq, err := s.read.DestinationByURL(ctx, id)
		if err != nil {
			return Destination{}, notFound(err, "callback.destination", id)
		}
		return loadOne(ctx, []int64{seq}, "callback.destination", id, s.destinationLoader(s.read))
	}
	return get(ctx, s, selectFrom("destination"), "callback.destination", id, s.destinationLoader(s.read))
}

// DestinationBySeq finds one by its row number.
func (s *Store) DestinationBySeq(ctx context.Context, seq int64) (Destination, error) {
	return loadOne(ctx, []int64{seq}, "callback.destination", strconv.FormatInt(seq, 10), s.destinationLoader(s.read))
}

func (d Destination) status() string { return d.Status }

func (tx *tx) destination(seq int64) (Destination, error) {
	return loadOne(tx.ctx, []int64{seq}, "callback.destination", strconv.FormatInt(seq, 10), tx.w.s.destinationLoader(tx.q))
}

func (s *Store) destinationLoader(q *db.Queries) func(context.Context, []int64) ([]Destination, error) {
	return func(ctx context.Context, seqs []int64) ([]Destination, error) {
		rows, err := q.DestinationsBySeq(ctx, seqsJSON(seqs))
		if err != nil {
			return nil, err
		}
		links, err := q.CallbacksOfDestinations(ctx, seqsJSON(seqs))
		if err != nil {
			return nil, err
		}
		callbacks := make(map[int64][]string, len(links))
		for _, l := range links {
			callbacks[l.DestinationSeq] = append(callbacks[l.DestinationSeq], l.ID)
		}
		return inOrder(seqs, rows, func(r *db.Destination) int64 { return r.Seq }, func(r *db.Destination) (Destination, error) {
			d := Destination{ID: r.ID, WebhookID: r.WebhookID, Status: r.Status, CallbackIDs: callbacks[r.Seq],
				CreatedAt: fromMS(r.CreatedAt), UpdatedAt: fromMS(r.UpdatedAt),
				DestinationSettings: DestinationSettings{Name: r.Name, Description: r.Description, Metadata: r.Metadata, Scope: r.Scope, URL: r.URL, Method: r.Method,
					Retry:   Retry{Type: r.RetryType, MaxAttempts: int(r.RetryMaxAttempts), Delay: time.Duration(r.RetryDelaySeconds) * time.Second},
					Timeout: time.Duration(r.TimeoutSeconds) * time.Second, MaxInFlight: int(r.MaxInFlight)}}
			secret, err := s.sealer.open("destination.signing_secret:"+r.ID, r.SigningSecret)
			if err != nil {
				return d, err
			}
			d.SigningSecret = string(secret)
			if d.EventTypes, err = readStringList(r.EventTypes); err != nil {
				return d, err
			}
			if r.Headers == nil {
				return d, nil
			}
			headers, err := s.sealer.open("destination.headers:"+r.ID, r.Headers)
			if err != nil {
				return d, err
			}
			return d, json.Unmarshal(headers, &d.Headers)
		})
	}
}

func (s *Store) sealHeaders(id string, headers map[string]string) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return nil, err
	}
	return s.sealer.seal("destination.headers:"+id, text)
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// stringList is a list as it is kept: null when it is empty.
func stringList(list []string) []byte {
	if len(list) == 0 {
		return nil
	}
	return []byte(jsonText(list))
}

func readStringList(text []byte) (list []string, err error) {
	if text == nil {
		return nil, nil
	}
	err = json.Unmarshal(text, &list)
	return list, err
}
