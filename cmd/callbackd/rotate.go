package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/callbackd/callbackd/store"
)

type rotateCommand struct {
	databaseFlags
	NewEncryptionKey string `help:"The new key, 32 bytes as base64. Default: a random one in FILE.key; needed if the key is given by --encryption-key."`
}

// Help is what rotate-key --help says besides.
func (rotateCommand) Help() string {
	return `Signing secrets and everything else that is secret stay what they are; only what they are encrypted with changes.
Backups that were made before still need the former key. Interrupted at any instant, the database opens as before;
with --new-encryption-key, run it again then.`
}

func (r rotateCommand) Run(ctx context.Context, c console) error {
	if err := r.exists(); err != nil {
		return err
	}
	key, err := r.key()
	if err != nil {
		return err
	}
	next, err := encryptionKey("--new-encryption-key", r.NewEncryptionKey)
	if err != nil {
		return err
	}
	if key != nil && next == nil {
		return errors.New("the key is given by --encryption-key, so give the new one too, by --new-encryption-key")
	}
	former, err := store.RotateKey(ctx, store.Options{Path: r.DB, Key: key}, next)
	if err != nil {
		return notDone(ctx, err)
	}
	if former != "" {
		fmt.Fprintf(c.err, "callbackd: the former key is kept in %s for backups that were made before; delete it with the last of them\n", former)
	}
	where := "in " + r.DB + ".key"
	if next != nil {
		where = "the one you gave: give it by --encryption-key from now on"
	}
	_, err = fmt.Fprintf(c.out, "the secrets in %s have a new key, %s\n", r.DB, where)
	return err
}
