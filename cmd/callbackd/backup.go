package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/callbackd/callbackd/store"
)

// backupCommand reads the file itself, beside a daemon that has it open.
type backupCommand struct {
	databaseFlags
	Dest    string `arg:"" type:"path" help:"File to make; what is there already is never replaced."`
	WithKey bool   `help:"Also copy the key file, to DEST.key. Whoever has both can read the secrets; without the key nobody can."`
}

// Help is what backup --help says besides.
func (backupCommand) Help() string {
	return `The copy is what the database held at one instant, checked and on the disk before it gets its name.
To restore it: stop the daemon, move FILE, FILE-wal and FILE-shm away, put the copy in FILE's place and its key in FILE.key, start the daemon.`
}

func (b backupCommand) Run(ctx context.Context, c console) error {
	if err := b.exists(); err != nil {
		return err
	}
	if b.WithKey && b.EncryptionKey != "" {
		return errors.New("--with-key copies the key file, and there is none when the key is given by --encryption-key")
	}
	if err := store.Backup(ctx, store.Options{Path: b.DB}, b.Dest, b.WithKey); err != nil {
		return notDone(ctx, err)
	}
	info, err := os.Stat(b.Dest)
	if err != nil {
		return err
	}
	switch {
	case b.WithKey:
		fmt.Fprintf(c.err, "callbackd: %s.key opens the secrets in the copy: keep both from others\n", b.Dest)
	case b.EncryptionKey != "":
		fmt.Fprintf(c.err, "callbackd: the secrets in the copy open only with the encryption key that you give: keep that\n")
	default:
		fmt.Fprintf(c.err, "callbackd: the secrets in the copy open only with the key in %s.key, which was not copied: keep a copy of it elsewhere\n", b.DB)
	}
	_, err = fmt.Fprintf(c.out, "%s is a copy of %s (%d bytes)\n", b.Dest, b.DB, info.Size())
	return err
}

// notDone is the error of a command that was to do something once. Being interrupted is one:
// a script must not take it for success.
func notDone(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted, nothing was done")
	}
	return err
}
