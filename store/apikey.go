package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/callbackd/callbackd/store/internal/db"
)

// APIKey is a key to the HTTP API. Of the key itself only a hash is kept: 256 random bits
// need no slow one.
type APIKey struct {
	ID        string
	Name      string
	Scope     string // "read" or "write"
	Hash      [sha256.Size]byte
	CreatedAt time.Time
	RevokedAt time.Time // zero: it is valid
}

// APIKeys are a file's API keys.
type APIKeys struct {
	ids   *ids
	rand  io.Reader
	read  *db.Queries
	write func(context.Context, func(context.Context, *db.Queries) error) error
	close func() error
}

// APIKeys are the API keys of the open file; its Close does nothing.
func (s *Store) APIKeys() *APIKeys {
	return &APIKeys{ids: s.ids, rand: s.sealer.rand, read: s.read, close: func() error { return nil },
		write: func(ctx context.Context, fn func(context.Context, *db.Queries) error) error {
			return s.write(ctx, func(tx *tx) error { return fn(tx.ctx, tx.q) })
		}}
}

// OpenAPIKeys opens the API keys of a file that another process may have open: SQLite
// itself keeps the two apart, and the other one sees a change within a second.
func OpenAPIKeys(ctx context.Context, o Options) (*APIKeys, error) {
	s, err := Open(ctx, o)
	if err == nil {
		keys := s.APIKeys()
		keys.close = s.Close
		return keys, nil
	}
	locked, ok := errors.AsType[*LockedError](err)
	if !ok {
		return nil, err
	}
	o = o.withDefaults()
	o.Path = locked.Path // absolute
	pool, err := sql.Open("sqlite", writerDSN(o))
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	return &APIKeys{ids: newIDs(o.Now, o.Rand), rand: o.Rand, read: q, close: pool.Close,
		write: func(ctx context.Context, fn func(context.Context, *db.Queries) error) error { return fn(ctx, q) }}, nil
}

// Close lets the file go.
func (k *APIKeys) Close() error { return k.close() }

// maxKeyName is how many bytes a key's name may have.
const maxKeyName = 100

// HashAPIKey is what a key is known by.
func HashAPIKey(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// Create makes a key. The secret is returned this once and never again.
func (k *APIKeys) Create(ctx context.Context, now time.Time, name, scope string) (id, secret string, err error) {
	if name == "" || len(name) > maxKeyName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", "", fmt.Errorf("create an API key: the name must have 1 to %d printable characters", maxKeyName)
	}
	random := make([]byte, 32)
	if _, err := io.ReadFull(k.rand, random); err != nil {
		return "", "", err
	}
	secret = "cbk_" + base64.RawURLEncoding.EncodeToString(random)
	hash := HashAPIKey(secret)
	id = k.ids.next(prefixAPIKey)
	err = k.write(ctx, func(ctx context.Context, q *db.Queries) error {
		return q.InsertAPIKey(ctx, db.InsertAPIKeyParams{ID: id, Name: name, Scope: scope, Hash: hash[:], Now: ms(now)})
	})
	if err != nil {
		return "", "", fmt.Errorf("create an API key: %w", err)
	}
	return id, secret, nil
}

// List returns all keys, revoked ones too, oldest first.
func (k *APIKeys) List(ctx context.Context) ([]APIKey, error) {
	rows, err := k.read.APIKeys(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]APIKey, len(rows))
	for i, r := range rows {
		out[i] = APIKey{ID: r.ID, Name: r.Name, Scope: r.Scope, CreatedAt: fromMS(r.CreatedAt), RevokedAt: fromMSPtr(r.RevokedAt)}
		copy(out[i].Hash[:], r.Hash)
	}
	return out, nil
}

// Revoke ends a key. One that has ended already is a [*ConflictError].
func (k *APIKeys) Revoke(ctx context.Context, now time.Time, id string) error {
	return k.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.RevokeAPIKey(ctx, msPtr(now), id)
		if err != nil || n > 0 {
			return err
		}
		keys, err := q.APIKeys(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(keys, func(key db.ApiKey) bool { return key.ID == id }) {
			return &ConflictError{Message: "API key " + id + " was revoked before"}
		}
		return &NotFoundError{Entity: "API key", ID: id}
	})
}
