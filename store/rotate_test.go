package store_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// childRotates tells a copy of this test program to change the key on and on.
const childRotates = "CALLBACKD_STORE_TEST_ROTATES"

func rotateForEver(path string) error {
	for {
		former, err := store.RotateKey(context.Background(), store.Options{Path: path}, nil)
		if err != nil {
			return err
		}
		fmt.Println(former)
		if err := os.Remove(former); err != nil {
			return err
		}
	}
}

func TestRotateKey(t *testing.T) {
	t.Parallel()

	// secrets expects everything that was sealed to be what it was.
	secrets := func(t *testing.T, f *fixture, o store.Options) {
		t.Helper()
		o.NoSync = true
		own := *f
		own.t = t
		own.Store = must(store.Open(t.Context(), o))(t)
		target := own.target("made")
		equal(t, "config and auth config", string(target.Config)+string(target.Auth), `{"url":"config-secret"}{"token":"auth-secret"}`)
		equal(t, "what was made of them", string(target.AuthPrepared)+string(target.Registration), `{"token":"prepared-secret"}{"secret":"registration-secret"}`)
		d := must(own.Destination(t.Context(), f.destination.ID))(t)
		equal(t, "destination", d.SigningSecret+" "+d.Headers["X-Key"], "signing-secret header-secret")
		check(t, own.Close())
		r := must(store.Check(t.Context(), store.Options{Path: o.Path, Key: o.Key}, true))(t)
		equal(t, "problems", r.Problems, []store.Problem(nil))
	}
	opened := func(t *testing.T) *fixture {
		f := setup(t)
		f.register()
		check(t, f.SavePrepared(t.Context(), f.target("made"), json.RawMessage(`{"token":"prepared-secret"}`), day))
		return f
	}
	closed := func(t *testing.T) *fixture {
		f := opened(t)
		for range 70 { // more than are read at a time
			must(f.CreateConfig(t.Context(), day, f.newConfig("another")))(t)
		}
		check(t, f.Close())
		return f
	}
	read := func(t *testing.T, path string) string { return string(must(os.ReadFile(path))(t)) }
	gone := func(t *testing.T, path string) {
		t.Helper()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there", path)
		}
	}
	given, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)

	t.Run("SealsEverythingAnew", func(t *testing.T) {
		t.Parallel()
		f := closed(t)
		old := read(t, f.path+".key")
		former := must(store.RotateKey(t.Context(), store.Options{Path: f.path}, nil))(t)
		if read(t, f.path+".key") == old {
			t.Error("the key is the same")
		}
		equal(t, "the former key", read(t, former), old)
		equal(t, "mode of the key", must(os.Stat(f.path+".key"))(t).Mode(), fs.FileMode(0o600))
		gone(t, f.path+".key.new")
		secrets(t, f, store.Options{Path: f.path})
		refuses(t, store.Options{Path: f.path, Key: must(base64.StdEncoding.DecodeString(strings.TrimSpace(old)))(t)}, "not the one that this file was written with")
	})

	t.Run("KnowsEveryPlaceThatIsSealed", func(t *testing.T) {
		t.Parallel()
		var places []string
		for _, name := range must(filepath.Glob("*.go"))(t) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range regexp.MustCompile(`\.seal\("([^"]+):"`).FindAllStringSubmatch(read(t, name), -1) {
				places = append(places, m[1])
			}
		}
		slices.Sort(places)
		known := store.SealedPlaces()
		slices.Sort(known)
		equal(t, "places", slices.Compact(places), known)
	})

	t.Run("GoesBetweenAKeyFileAndAGivenKey", func(t *testing.T) {
		t.Parallel()
		f := closed(t)
		former := must(store.RotateKey(t.Context(), store.Options{Path: f.path}, given))(t)
		secrets(t, f, store.Options{Path: f.path, Key: given})
		gone(t, f.path+".key")
		refuses(t, store.Options{Path: f.path}, "key is missing")
		for range 2 { // again, as after being cut off
			equal(t, "former key file", must(store.RotateKey(t.Context(), store.Options{Path: f.path, Key: given}, other))(t), "")
		}
		secrets(t, f, store.Options{Path: f.path, Key: other})
		gone(t, f.path+".key")
		if _, err := os.Stat(former); err != nil {
			t.Error(err)
		}
	})

	t.Run("IsRefused", func(t *testing.T) {
		t.Parallel()
		f := closed(t)
		refused := func(o store.Options, key []byte, text string) {
			t.Helper()
			if _, err := store.RotateKey(t.Context(), o, key); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("the error is %v, want %q", err, text)
			}
		}
		refused(store.Options{Path: f.path, Key: given}, nil, "the new one has to be given too")
		refused(store.Options{Path: f.path}, given[1:], "the new key has 31 bytes")
		refused(store.Options{Path: f.path, Key: given}, other, "not the one that this file was written with")
		refused(store.Options{Path: f.path + "x"}, nil, "no such file")
		s := open(t, f.path)
		refused(store.Options{Path: f.path}, nil, "in use by another callbackd process")
		check(t, s.Close())
		alter(t, f.path, "UPDATE provider_config SET value = x'00' WHERE seq = 2")
		key := read(t, f.path+".key")
		refused(store.Options{Path: f.path}, nil, "open config:"+f.config.ID)
		equal(t, "the key", read(t, f.path+".key"), key)
		gone(t, f.path+".key.new")
		equal(t, "the signing secret", must(open(t, f.path).Destination(t.Context(), f.destination.ID))(t).SigningSecret, "signing-secret")
	})

	// The instants between which a change of the key may be cut off, as they are on the disk.
	t.Run("CutOffAtAnyStepLeavesAFileAndAKeyThatFit", func(t *testing.T) {
		t.Parallel()
		text := func(key []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(key) + "\n") }
		for step, cut := range map[string]func(t *testing.T, f *fixture){
			"the new key is half written": func(t *testing.T, f *fixture) {
				check(t, os.WriteFile(f.path+".key.new", []byte("AAAA"), 0o600))
			},
			"the new key is written": func(t *testing.T, f *fixture) {
				check(t, os.WriteFile(f.path+".key.new", text(other), 0o600))
			},
			"the commit is made": func(t *testing.T, f *fixture) {
				check(t, os.WriteFile(f.path+".key.new", text(other), 0o600))
				s := open(t, f.path)
				check(t, os.WriteFile(f.path+".key.new", text(other), 0o600)) // opening has removed it
				check(t, errors.Join(s.Reseal(t.Context(), other), s.Close()))
			},
			"the former key is kept": func(t *testing.T, f *fixture) {
				s := open(t, f.path)
				check(t, os.WriteFile(f.path+".key.new", text(other), 0o600))
				check(t, errors.Join(s.Reseal(t.Context(), other), s.Close()))
				former := must(os.ReadFile(f.path + ".key"))(t)
				key := must(base64.StdEncoding.DecodeString(strings.TrimSpace(string(former))))(t)
				check(t, os.WriteFile(store.FormerKeyPath(f.path, key), former, 0o600))
			},
			"the new key has its name": func(t *testing.T, f *fixture) {
				s := open(t, f.path)
				check(t, errors.Join(s.Reseal(t.Context(), other), s.Close()))
				check(t, os.WriteFile(f.path+".key", text(other), 0o600))
			},
		} {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				f := opened(t)
				check(t, f.Close())
				cut(t, f)
				dest := filepath.Join(t.TempDir(), "copy.db")
				check(t, store.Backup(t.Context(), store.Options{Path: f.path}, dest, true))
				secrets(t, f, store.Options{Path: dest})
				secrets(t, f, store.Options{Path: f.path})
				gone(t, f.path+".key.new")
				must(store.RotateKey(t.Context(), store.Options{Path: f.path}, nil))(t)
				secrets(t, f, store.Options{Path: f.path})
			})
		}
	})

	t.Run("KilledLeavesAFileAndAKeyThatFit", func(t *testing.T) {
		t.Parallel()
		kills := 3
		if os.Getenv("CALLBACKD_LONG") != "" {
			kills = 100
		}
		f := opened(t)
		check(t, f.Close())
		for kill := range kills {
			cmd, out := startChild(t, f.path, childRotates+"=1")
			for range 1 + kill%3 {
				if out.Scan(); !strings.HasPrefix(out.Text(), f.path+".key.") {
					t.Fatalf("it says %q", out.Text())
				}
			}
			check(t, cmd.Process.Kill()) // somewhere in the next one
			_ = cmd.Wait()
			secrets(t, f, store.Options{Path: f.path})
		}
	})
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.Close())
	for what, tt := range map[string]struct {
		text *string // nil: there is none
		want string
	}{
		"Missing":   {nil, "is missing, and without it the secrets in"},
		"Empty":     {new(""), "is not a key: it is empty; restore it, or give the key itself"},
		"Truncated": {new(oldKey[:20]), "is not a key: it should hold 32 bytes as base64; restore it"},
		"Garbage":   {new("\x00\xff"), "is not a key: it should hold 32 bytes as base64; restore it"},
		"Another":   {new(oldKey), "is not the one that this file was written with: put that one into"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			path := copyTo(t, f.path, "test.db")
			check(t, os.Remove(path+".key"))
			if tt.text != nil {
				check(t, os.WriteFile(path+".key", []byte(*tt.text), 0o600))
			}
			before := must(os.ReadFile(path))(t)
			refuses(t, store.Options{Path: path}, tt.want)
			refuses(t, store.Options{Path: path}, path)
			if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
				t.Error("the file was changed")
			}
			key := must(base64.StdEncoding.DecodeString(strings.TrimSpace(string(must(os.ReadFile(f.path + ".key"))(t)))))(t)
			s := must(store.Open(t.Context(), store.Options{Path: path, Key: key}))(t)
			_, err := s.CreateConfig(t.Context(), day, f.newConfig("given"))
			check(t, errors.Join(err, s.Close()))
		})
	}
}
