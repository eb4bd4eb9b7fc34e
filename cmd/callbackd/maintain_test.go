package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// runs runs a command in this process.
func runs(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, console{&o, &e})
	return code, o.String(), e.String()
}

// expect runs a command that has to end with a code and say certain things.
func expect(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	got, out, errs := runs(t, args...)
	if got != code || !strings.Contains(out+errs, says) {
		t.Errorf("callbackd %s: exit code %d, want %d with %q:\n%s%s", strings.Join(args, " "), got, code, says, out, errs)
	}
}

func TestBackupAndCheckWorkBesideARunningDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := filepath.Join(dir, "callbackd.db")
	p := serve(t, db)
	d := p.call("POST", "/callback-destinations", object{"name": "d", "url": "http://127.0.0.1:1/"})
	dest := filepath.Join(dir, "copy.db")
	expect(t, 0, "keep a copy of it elsewhere", "backup", "--db", db, dest)
	expect(t, 1, "is there already", "backup", "--db", db, dest)
	expect(t, 0, "is in order: 0 events", "check", "--db", db)
	expect(t, 0, "secrets were not looked at", "check", "--quick", "--db", dest)
	expect(t, 1, "is in use by another callbackd process", "rotate-key", "--db", db)

	whole := filepath.Join(dir, "whole.db")
	expect(t, 0, "keep both from others", "backup", "--db", db, "--with-key", whole)
	restored := serve(t, whole)
	if got := restored.call("GET", "/callback-destinations/"+d["id"].(string), nil); got["id"] != d["id"] {
		t.Errorf("the copy answers %v", got)
	}
	if code := restored.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestCheckExitsWithOneIfAnythingIsBroken(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	if code, _, errs := runs(t, "keys", "create", "--db", db); code != 0 {
		t.Fatal(errs)
	}
	expect(t, 0, "is in order", "check", "--db", db)
	plain, err := sql.Open("sqlite", "file:"+db)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := plain.ExecContext(t.Context(), "INSERT INTO event_payload DEFAULT VALUES"); err != nil {
			t.Fatal(err)
		}
	}
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, 1, "broken: a row refers only to rows that are there (12 rows)\n  event_payload row 1 refers to a row of event that is not there\n", "check", "--db", db)
	expect(t, 1, "  and 2 more\n", "check", "--db", db)
	expect(t, 1, "breaks 1 rule: keep it as it is, and restore a backup", "check", "--db", db)
}

func TestRotateKeyWithAGivenKeyTakesTheNewOne(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	one, two := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	if code, _, errs := runs(t, "keys", "create", "--db", db); code != 0 {
		t.Fatal(errs)
	}
	_, _, errs := runs(t, "rotate-key", "--db", db)
	former := regexp.MustCompile(regexp.QuoteMeta(db) + `\.key\.[0-9a-f]{8}`).FindString(errs)
	if info, err := os.Stat(former); err != nil || info.Mode() != 0o600 {
		t.Errorf("the former key: %v\n%s", err, errs)
	}
	expect(t, 0, "give it by --encryption-key from now on", "rotate-key", "--db", db, "--new-encryption-key", one)
	expect(t, 1, "give the new one too", "rotate-key", "--db", db, "--encryption-key", one)
	expect(t, 0, "have a new key", "rotate-key", "--db", db, "--encryption-key", one, "--new-encryption-key", two)
	expect(t, 1, "not the one that this file was written with", "keys", "list", "--db", db, "--encryption-key", one)
	expect(t, 0, "SCOPE", "keys", "list", "--db", db, "--encryption-key", two)
	expect(t, 1, "--new-encryption-key must be 32 bytes as base64", "rotate-key", "--db", db, "--encryption-key", two, "--new-encryption-key", "short")
	expect(t, 1, "there is none when the key is given", "backup", "--db", db, "--encryption-key", two, "--with-key", db+".copy")
}

func TestMaintenanceMakesNoFileOfAMistypedName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := filepath.Join(dir, "mistyped.db")
	for _, args := range [][]string{{"backup", filepath.Join(dir, "copy.db")}, {"check"}, {"rotate-key"}} {
		expect(t, 1, "there is no database "+db, append(args, "--db", db)...)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("there are %v, %v", names, err)
	}
}

// A script must not take a backup that was interrupted for one that was made.
func TestInterruptedBackupIsNoSuccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := filepath.Join(dir, "callbackd.db")
	if code, _, errs := runs(t, "keys", "create", "--db", db); code != 0 {
		t.Fatal(errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"backup", filepath.Join(dir, "copy.db")}, {"check"}} {
		var out, errs bytes.Buffer
		if code := run(ctx, append(args, "--db", db), console{&out, &errs}); code != 1 || !strings.Contains(errs.String(), "interrupted") {
			t.Errorf("%s: exit code %d: %s%s", args[0], code, &out, &errs)
		}
	}
}
