package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Never is when a trigger with a webhook is due that needs nothing: in the year 9999.
var Never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// UnregistrationFailed is the code of what could not be taken back.
const UnregistrationFailed = "unregistration_failed"

// Registration is a webhook that its source knows.
type Registration struct {
	At      time.Time
	URL     string          // with which it was registered
	Details json.RawMessage // what the source said; nil: nothing
	State   json.RawMessage // the trigger's from now on; nil: as before
	NextAt  time.Time       // when it is to be renewed; [Never] if it is not
}

// registered is what is kept of a registration.
type registered struct {
	Details json.RawMessage `json:"details"`
	Config  json.RawMessage `json:"config"` // with which it was made, and is to be taken back
}

// RecordRegistration stores that a trigger's webhook was registered. If the trigger is wanted
// no longer, or with another config, dropped is true: the registration is stored all the same,
// to be taken back, or made anew.
func (s *Store) RecordRegistration(ctx context.Context, t PollTarget, r Registration) (dropped bool, err error) {
	text, err := json.Marshal(registered{Details: r.Details, Config: t.Config})
	if err != nil {
		return false, err
	}
	details, err := s.sealer.seal("instance_trigger.registration:"+t.ID, text)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, func(tx *tx) error {
		n, err := tx.q.RecordRegistration(tx.ctx, db.RecordRegistrationParams{Seq: t.Seq, Revision: t.revision, RegisteredURL: &r.URL, Registration: details,
			State: r.State, NextPollAt: msPtr(r.NextAt), Now: ms(r.At)})
		if dropped = n == 0; err != nil || !dropped {
			return err
		}
		return tx.q.RecordStaleRegistration(tx.ctx, db.RecordStaleRegistrationParams{Seq: t.Seq, RegisteredURL: &r.URL, Revision: &t.revision, Registration: details, Now: ms(r.At)})
	})
	return dropped, err
}

// DueUnregistrations are the row numbers of at most limit triggers whose webhook is to be taken
// back from its source, longest due first.
func (s *Store) DueUnregistrations(ctx context.Context, now time.Time, limit int) ([]int64, error) {
	return s.read.DueUnregistrations(ctx, msPtr(now), int64(limit))
}

// RecordUnregistration stores that a trigger's webhook was taken back, or, with a failure, given
// up. One that is wanted again by now is due at once. One that is not shows the failure, or, if
// earlier tries had failed, what it showed before them.
func (s *Store) RecordUnregistration(ctx context.Context, now time.Time, seq int64, givenUp *Failure) error {
	return s.write(ctx, func(tx *tx) error {
		t, err := tx.q.StandsStill(tx.ctx, seq)
		if err != nil {
			return err
		}
		shown := failure(t.ErrorCode, t.ErrorMessage)
		switch {
		case t.NextPollAt != nil:
		case givenUp != nil:
			shown = givenUp
		case shown == nil || shown.Code != UnregistrationFailed:
		case t.DeploymentStatus == "archived":
			shown = &deploymentArchived
		case t.ConfigStatus == "archived":
			shown = &configArchived
		case t.AuthConfigStatus == "archived":
			shown = &authConfigArchived
		default:
			shown = nil
		}
		code, message := shown.columns()
		return tx.q.RecordUnregistration(tx.ctx, db.RecordUnregistrationParams{Seq: seq, ErrorCode: code, ErrorMessage: message, Now: ms(now)})
	})
}

// RecordListening stores that there is nothing to do for a webhook: it is not registered by us.
func (s *Store) RecordListening(ctx context.Context, now time.Time, t PollTarget) error {
	return s.write(ctx, func(tx *tx) error {
		return tx.q.RecordListening(tx.ctx, db.RecordListeningParams{Seq: t.Seq, Revision: t.revision, Never: msPtr(Never), Now: ms(now)})
	})
}

// PostponeUnregistration stores that a trigger's webhook could not be taken back, and when that
// is tried again.
func (s *Store) PostponeUnregistration(ctx context.Context, now time.Time, seq int64, until time.Time, f Failure) error {
	return s.write(ctx, func(tx *tx) error {
		return tx.q.PostponeUnregistration(tx.ctx, db.PostponeUnregistrationParams{Seq: seq, UnregisterAt: msPtr(until), ErrorCode: &f.Code, ErrorMessage: &f.Message, Now: ms(now)})
	})
}

// publicURLKey is where the public URL is kept that webhooks were registered with.
const publicURLKey = "public_url"

// MoveRegistrations has webhooks registered anew that are registered with another URL than
// prefix and their own path, or could not be registered, and returns how many. It looks for them
// only when prefix is not that of the last call. With "", no URL is another.
func (s *Store) MoveRegistrations(ctx context.Context, now time.Time, prefix string) (moved int, err error) {
	last, err := s.read.Meta(ctx, publicURLKey)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if string(last) == prefix { // without a last one, nothing is registered
		return 0, nil
	}
	err = s.write(ctx, func(tx *tx) error {
		n, err := tx.q.MoveRegistrations(tx.ctx, msPtr(now), prefix)
		if err != nil {
			return err
		}
		moved = int(n)
		return tx.q.SetMeta(tx.ctx, publicURLKey, []byte(prefix))
	})
	return moved, err
}

// SavePrepared keeps what a provider made of the auth config that a trigger signs in with, and
// when to make it anew; zero: never. If the auth config has another value by now, nothing is kept.
func (s *Store) SavePrepared(ctx context.Context, t PollTarget, value json.RawMessage, renewAt time.Time) error {
	sealed, err := s.sealer.seal("auth_config.prepared:"+t.AuthConfigID, value)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.q.SavePrepared(tx.ctx, db.SavePreparedParams{ID: t.AuthConfigID, Value: t.authValue, Prepared: sealed, RenewAt: msPtr(renewAt)})
		return err
	})
}
