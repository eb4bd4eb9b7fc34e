package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/callbackd/callbackd/store"
)

func TestSecrets(t *testing.T) {
	t.Parallel()

	t.Run("AreNotInTheFile", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		_, key, err := f.APIKeys().Create(t.Context(), day, "ours", "write")
		check(t, err)
		_, err = f.UpdateConfig(t.Context(), day, f.config.ID, f.config.SpecificationID, func(c *store.ConfigChange) { c.Value = json.RawMessage(`"config-secret"`) })
		check(t, err)
		_, err = f.UpdateDestination(t.Context(), day, f.destination.ID, func(d *store.DestinationSettings, _ *string) error {
			d.Headers = map[string]string{"X-Other": "header-secret"}
			return nil
		})
		check(t, err)
		inFile := func() []byte {
			var all []byte
			for _, name := range must(filepath.Glob(f.path + "*"))(t) {
				if filepath.Ext(name) != ".key" {
					all = append(all, must(os.ReadFile(name))(t)...)
				}
			}
			return all
		}
		logged := inFile() // most of it in the WAL
		check(t, f.Close())
		for _, text := range [][]byte{logged, inFile()} {
			if !bytes.Contains(text, []byte("https://example.com/hook")) {
				t.Error("what is no secret is not there either")
			}
			for _, secret := range []string{"config-secret", "auth-secret", "signing-secret", "header-secret", "X-Other", key} {
				if bytes.Contains(text, []byte(secret)) {
					t.Errorf("%q is in the file", secret)
				}
			}
		}
	})

	t.Run("ComeBackAsTheyWere", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		target := f.target("made")
		equal(t, "config", string(target.Config), `{"url":"config-secret"}`)
		equal(t, "auth", target.AuthMethod+" "+string(target.Auth), `token {"token":"auth-secret"}`)
		equal(t, "destination", f.destination.SigningSecret+" "+f.destination.Headers["X-Key"], "signing-secret header-secret")
	})

	t.Run("DoNotOpenInAnotherRow", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		target := f.target("made")
		other := f.newDestination(store.ScopeSelected, nil)
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return errors.Join(
				tx.Exec("UPDATE provider_config SET value = (SELECT c.value FROM provider_config AS c WHERE c.id <> ?1) WHERE id = ?1", f.config.ID),
				tx.Exec("UPDATE destination SET signing_secret = (SELECT d.signing_secret FROM destination AS d WHERE d.id <> ?1) WHERE id = ?1", other.ID))
		}))
		if moved := must(f.PollTarget(t.Context(), target.Seq))(t); moved.Err == nil || moved.Config != nil {
			t.Error("a config opened with another one's value")
		}
		if _, err := f.Destination(t.Context(), other.ID); err == nil {
			t.Error("a destination opened with another one's secret")
		}
	})

	t.Run("DoNotOpenInAnotherColumn", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec("UPDATE destination SET signing_secret = headers")
		}))
		if _, err := f.Destination(t.Context(), f.destination.ID); err == nil {
			t.Error("the headers opened as the signing secret")
		}
	})
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()

	t.Run("AreKnownByTheirHash", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		id, secret, err := f.APIKeys().Create(t.Context(), day, "ours", "read")
		check(t, err)
		equal(t, "keys", must(f.APIKeys().List(t.Context()))(t),
			[]store.APIKey{{ID: id, Name: "ours", Scope: "read", Hash: store.HashAPIKey(secret), CreatedAt: day}})
	})

	t.Run("AreRevokedOnce", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		id, _, err := f.APIKeys().Create(t.Context(), day, "ours", "read")
		check(t, err)
		check(t, f.APIKeys().Revoke(t.Context(), day, id))
		equal(t, "revoked at", must(f.APIKeys().List(t.Context()))(t)[0].RevokedAt, day)
		conflict(t, f.APIKeys().Revoke(t.Context(), day, id))
		notFound(t, f.APIKeys().Revoke(t.Context(), day, "key_nope"), "API key", "key_nope")
	})

	t.Run("CanBeManagedWhileTheFileIsOpen", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		relative := must(filepath.Rel(must(os.Getwd())(t), f.path))(t)
		keys := must(store.OpenAPIKeys(t.Context(), store.Options{Path: relative}))(t)
		id, _, err := keys.Create(t.Context(), day, "theirs", "write")
		check(t, errors.Join(err, keys.Close()))
		equal(t, "key", must(f.APIKeys().List(t.Context()))(t)[0].ID, id)
		check(t, f.Close())
		keys = must(store.OpenAPIKeys(t.Context(), store.Options{Path: f.path}))(t)
		check(t, errors.Join(keys.Revoke(t.Context(), day, id), keys.Close()))
	})
}

// notFound expects a NotFoundError for just this.
func notFound(t *testing.T, err error, entity, id string) {
	t.Helper()
	if e, ok := errors.AsType[*store.NotFoundError](err); !ok || e.Entity != entity || e.ID != id {
		t.Errorf("the error is %v, want no %s %q", err, entity, id)
	}
}

// conflict expects a ConflictError.
func conflict(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*store.ConflictError](err); !ok {
		t.Errorf("the error is %v, want a conflict", err)
	}
}

// invalidReference expects an InvalidReferencesError with the entry at an index.
func invalidReference(t *testing.T, err error, index int) {
	t.Helper()
	if e, ok := errors.AsType[store.InvalidReferencesError](err); !ok || len(e) != 1 || e[0].Index != index {
		t.Errorf("the error is %v, want an invalid reference at %d", err, index)
	}
}
