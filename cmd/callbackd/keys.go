package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/callbackd/callbackd/store"
)

// keysCommand works on the file itself, whether a daemon runs on it or not: a running one
// sees the change within a second.
type keysCommand struct {
	Create keysCreate `cmd:"" help:"Make a key and print it. It cannot be shown again."`
	List   keysList   `cmd:"" help:"List keys."`
	Revoke keysRevoke `cmd:"" help:"End a key."`
}

type keysCreate struct {
	databaseFlags
	Name  string `default:"key" help:"What to call it."`
	Scope string `default:"write" enum:"read,write" help:"read allows GET, write allows everything."`
}

func (k keysCreate) Run(ctx context.Context, c console) error {
	if _, err := os.Stat(k.DB); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(c.err, "callbackd: there was no database %s, so it is made\n", k.DB)
	}
	return k.withKeys(ctx, func(keys *store.APIKeys) error {
		id, secret, err := keys.Create(ctx, time.Now(), k.Name, k.Scope)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.err, "callbackd: key %s with scope %s; it is shown only now\n", id, k.Scope)
		_, err = fmt.Fprintln(c.out, secret)
		return err
	})
}

type keysList struct{ databaseFlags }

func (k keysList) Run(ctx context.Context, c console) error {
	return k.withExistingKeys(ctx, func(keys *store.APIKeys) error {
		all, err := keys.List(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tSCOPE\tCREATED\tREVOKED")
		for _, key := range all {
			revoked := "-"
			if !key.RevokedAt.IsZero() {
				revoked = key.RevokedAt.Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", key.ID, key.Name, key.Scope, key.CreatedAt.Format(time.RFC3339), revoked)
		}
		return w.Flush()
	})
}

type keysRevoke struct {
	databaseFlags
	ID string `arg:"" help:"The key's id, as keys list shows it."`
}

func (k keysRevoke) Run(ctx context.Context, c console) error {
	return k.withExistingKeys(ctx, func(keys *store.APIKeys) error {
		if err := keys.Revoke(ctx, time.Now(), k.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, k.ID, "is revoked")
		return err
	})
}

func (f databaseFlags) withExistingKeys(ctx context.Context, do func(*store.APIKeys) error) error {
	if err := f.exists(); err != nil {
		return err
	}
	return f.withKeys(ctx, do)
}

func (f databaseFlags) withKeys(ctx context.Context, do func(*store.APIKeys) error) (err error) {
	key, err := f.key()
	if err != nil {
		return err
	}
	keys, err := store.OpenAPIKeys(ctx, store.Options{Path: f.DB, Key: key})
	if err != nil {
		return err
	}
	defer func() {
		if closed := keys.Close(); err == nil {
			err = closed
		}
	}()
	return do(keys)
}
