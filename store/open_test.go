package store_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/callbackd/callbackd"
	"github.com/callbackd/callbackd/store"
)

// childEnv tells a copy of this test program which file to work on instead of testing.
const childEnv = "CALLBACKD_STORE_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		work := child
		if os.Getenv(childRotates) != "" {
			work = rotateForEver
		}
		if err := work(path); err != nil {
			fmt.Println(err)
		}
		return
	}
	os.Exit(m.Run())
}

// child opens a file and publishes until it is killed; it prints the id of what was accepted.
func child(path string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		return err
	}
	l, err := s.ListCallbacks(ctx, store.CallbackFilter{}, store.Page{Limit: 1})
	if err != nil {
		return err
	}
	fail := make(chan error)
	for range 4 {
		go func() {
			for {
				p, err := s.Publish(ctx, day, l.Items[0].ID, store.NewEvent{Type: "thing.made", Output: json.RawMessage(`{}`)})
				if err != nil {
					fail <- err
				}
				fmt.Println(p[0].Event.ID)
			}
		}()
	}
	return <-fail
}

// startChild starts another process on a file.
func startChild(t *testing.T, path string, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), childEnv+"="+path), env...)
	out := must(cmd.StdoutPipe())(t)
	check(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

func TestOpen(t *testing.T) {
	t.Parallel()

	t.Run("KeepsWhatWasStored", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		again := open(t, f.path)
		equal(t, "callback", must(again.Callback(t.Context(), f.callback.ID))(t), f.callback)
		equal(t, "signing secret", must(again.Destination(t.Context(), f.destination.ID))(t).SigningSecret, "signing-secret")
	})

	t.Run("MakesTheSchemaOfSchemaSQL", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		plain := must(sql.Open("sqlite", ":memory:"))(t)
		defer plain.Close()
		plain.SetMaxOpenConns(1)
		_, err := plain.ExecContext(t.Context(), callbackd.Schema)
		check(t, err)
		equal(t, "schema", schemaOf(t, s.Readers()), schemaOf(t, plain))
	})

	t.Run("TakesPathsWithOddCharacters", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a b?c#d%20e.db")
		open(t, path)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	})

	t.Run("OneProcessOwnsTheFile", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		_, err := store.Open(t.Context(), store.Options{Path: f.path})
		locked, ok := errors.AsType[*store.LockedError](err)
		if !ok || locked.Path != f.path {
			t.Fatalf("a second Open says %v", err)
		}
		cmd, out := startChild(t, f.path)
		if out.Scan(); out.Text() != locked.Error() || !strings.Contains(out.Text(), "in use by another callbackd process") {
			t.Errorf("another process says %q", out.Text())
		}
		check(t, cmd.Wait())
	})

	t.Run("RefusesANewerFile", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		s := open(t, path)
		check(t, s.Write(t.Context(), func(tx *store.Tx) error { return tx.Exec("PRAGMA user_version = 99") }))
		check(t, s.Close())
		_, err := store.Open(t.Context(), store.Options{Path: path})
		if v, ok := errors.AsType[*store.VersionError](err); !ok || v.Have != 99 {
			t.Errorf("Open says %v", err)
		}
	})

	t.Run("RefusesAndDoesNotTouchAStrangersFile", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "other.db")
		other := must(sql.Open("sqlite", path))(t)
		_, err := other.ExecContext(t.Context(), "CREATE TABLE theirs (x)")
		check(t, errors.Join(err, other.Close()))
		before := must(os.ReadFile(path))(t)
		refuses(t, store.Options{Path: path}, "some other program's SQLite database")
		if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
			t.Error("the file was changed")
		}
		if _, err := os.Stat(path + ".key"); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a key was made")
		}
	})

	t.Run("RefusesWhatIsNoDatabase", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "notes.txt")
		check(t, os.WriteFile(path, bytes.Repeat([]byte("just some text\n"), 1000), 0o600))
		refuses(t, store.Options{Path: path}, "file is not a database")
	})

	t.Run("RefusesAMissingFolder", func(t *testing.T) {
		t.Parallel()
		refuses(t, store.Options{Path: filepath.Join(t.TempDir(), "none", "test.db")}, "its folder does not exist")
	})

	t.Run("RefusesBadOptions", func(t *testing.T) {
		t.Parallel()
		refuses(t, store.Options{}, "Options.Path is empty")
		refuses(t, store.Options{Path: "x.db", Key: make([]byte, 31)}, "Options.Key has 31 bytes, it must have 32")
	})

	t.Run("LetsGoOfTheFileWhenItFails", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		refuses(t, store.Options{Path: f.path, Key: make([]byte, 32)}, "not the one that this file was written with")
		open(t, f.path)
	})

	t.Run("FindsAWrongOrMissingKey", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		key := f.path + ".key"
		check(t, os.WriteFile(key, []byte("c2hvcnQ=\n"), 0o600))
		refuses(t, store.Options{Path: f.path}, "is not a key: it should hold 32 bytes as base64")
		check(t, os.Remove(key))
		refuses(t, store.Options{Path: f.path}, "the key file "+key+" is missing")
	})

	t.Run("KeepsTheKeyToItsOwner", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		equal(t, "mode", must(os.Stat(f.path+".key"))(t).Mode(), fs.FileMode(0o600))
	})

	t.Run("MakesNoKeyFileForAGivenKey", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		s := must(store.Open(t.Context(), store.Options{Path: path, Key: make([]byte, 32)}))(t)
		check(t, s.Close())
		if _, err := os.Stat(path + ".key"); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a key was made")
		}
	})

	t.Run("CanBeRepeatedAfterItFailedToMakeTheKey", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		refuses(t, store.Options{Path: path, Rand: strings.NewReader("too few bytes")}, "unexpected EOF")
		open(t, path)
	})

	t.Run("ReadersCannotWrite", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		if _, err := s.Readers().ExecContext(t.Context(), "DELETE FROM meta"); err == nil {
			t.Error("a reader wrote")
		}
	})

	t.Run("CommitsAreOnTheDiskUnlessNoSync", func(t *testing.T) {
		t.Parallel()
		for noSync, want := range map[bool]string{false: "wal 2", true: "wal 1"} {
			s := must(store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "test.db"), NoSync: noSync}))(t)
			var journal, synchronous string
			check(t, s.Write(t.Context(), func(tx *store.Tx) error {
				return errors.Join(tx.Scan("PRAGMA journal_mode", &journal), tx.Scan("PRAGMA synchronous", &synchronous))
			}))
			equal(t, "journal mode and synchronous", journal+" "+synchronous, want)
			check(t, s.Close())
		}
	})
}

// refuses expects Open to fail with an error that says so.
func refuses(t *testing.T, o store.Options, text string) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err == nil {
		_ = s.Close()
		t.Errorf("Open succeeds, want %q", text)
	} else if !strings.Contains(err.Error(), text) {
		t.Errorf("Open says %q, want %q", err, text)
	}
}

func schemaOf(t *testing.T, db *sql.DB) (out []string) {
	t.Helper()
	rows := must(db.QueryContext(t.Context(), "SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name"))(t)
	defer rows.Close()
	for rows.Next() {
		var kind, name, text string
		check(t, rows.Scan(&kind, &name, &text))
		out = append(out, kind+" "+name+" "+text)
	}
	check(t, rows.Err())
	return out
}

func TestKill(t *testing.T) {
	t.Parallel()

	t.Run("LosesNothingThatWasAccepted", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		cmd, out := startChild(t, f.path)
		var accepted []string
		for len(accepted) < 100 && out.Scan() {
			accepted = append(accepted, out.Text())
		}
		check(t, cmd.Process.Kill())
		for out.Scan() { // what it printed before it died
			if strings.HasPrefix(out.Text(), "cte_") && len(out.Text()) == len(accepted[0]) {
				accepted = append(accepted, out.Text())
			}
		}
		_ = cmd.Wait()
		f.Store = open(t, f.path)
		for _, id := range accepted {
			f.event(id)
		}
		equal(t, "events without their one notification", f.count(`SELECT count(*) FROM event AS e
			WHERE (SELECT count(*) FROM notification AS n WHERE n.event_seq = e.seq) <> 1`), 0)
		var verdict string
		check(t, f.Readers().QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict))
		equal(t, "integrity check", verdict, "ok")
	})
}

func TestSQLite(t *testing.T) {
	t.Parallel()

	// Before 3.51.3 a writer that raced a checkpoint could lose committed pages.
	t.Run("IsNewEnough", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		var version string
		check(t, s.Readers().QueryRowContext(t.Context(), "SELECT sqlite_version()").Scan(&version))
		var a, b, c int
		must(fmt.Sscanf(version, "%d.%d.%d", &a, &b, &c))(t)
		if a*1_000_000+b*1000+c < 3_051_003 {
			t.Errorf("this is SQLite %s", version)
		}
	})

	// The driver's C library works only in the version that the driver was made with.
	t.Run("HasTheLibcThatItWasMadeWith", func(t *testing.T) {
		t.Parallel()
		list := func(format, module string) string {
			out := must(exec.CommandContext(t.Context(), "go", "list", "-m", "-f", format, module).Output())(t)
			return strings.TrimSpace(string(out))
		}
		text := must(os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite")))(t)
		want := regexp.MustCompile(`modernc\.org/libc (\S+)`).FindSubmatch(text)
		equal(t, "version", list("{{.Version}}", "modernc.org/libc"), string(want[1]))
	})
}
