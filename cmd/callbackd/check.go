package main

import (
	"context"
	"fmt"

	"github.com/callbackd/callbackd/store"
)

// checkCommand reads the file itself, beside a daemon that has it open.
type checkCommand struct {
	databaseFlags
	Quick bool `help:"Do not compare indexes with their rows, which takes longest."`
}

// Help is what check --help says besides.
func (checkCommand) Help() string {
	return `It changes nothing. It exits with 0 if all is well, and with 1 if not, or if the database cannot be checked.
Beside a busy daemon the database's log grows until the check ends, so check a backup instead if the database is large.`
}

func (k checkCommand) Run(ctx context.Context, c console) error {
	if err := k.exists(); err != nil {
		return err
	}
	key, err := k.key()
	if err != nil {
		return err
	}
	r, err := store.Check(ctx, store.Options{Path: k.DB, Key: key}, k.Quick)
	if err != nil {
		return notDone(ctx, err)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(c.out, "broken: %s (%s)\n", p.Rule, counted(p.Count, "row"))
		for _, row := range p.Rows {
			fmt.Fprintf(c.out, "  %s\n", row)
		}
		if more := p.Count - int64(len(p.Rows)); more > 0 {
			fmt.Fprintf(c.out, "  and %d more\n", more)
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintln(c.err, "callbackd:", note)
	}
	if n := len(r.Problems); n > 0 {
		if n == 1 && r.Problems[0].Rule == store.RuleSecrets {
			return fmt.Errorf("the secrets in %s do not open: give the key that it was written with; the rest of it is in order", k.DB)
		}
		return fmt.Errorf("%s breaks %s: keep it as it is, and restore a backup", k.DB, counted(int64(n), "rule"))
	}
	_, err = fmt.Fprintf(c.out, "%s is in order: %d events, %d notifications, %d attempts\n", k.DB, r.Events, r.Notifications, r.Attempts)
	return err
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
