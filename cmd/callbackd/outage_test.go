package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon whose database is deleted while it runs says so, accepts nothing, reads on, and is
// itself again when the file is back.
func TestDeletedDatabaseIsNoticed(t *testing.T) {
	t.Parallel()
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }))
	defer source.Close()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	p := serve(t, db)
	callback := p.attachFeed(source.URL, source.URL)
	publish := func() int {
		status, _ := p.try("POST", "/callbacks/"+callback+"/events", object{"type": "own", "output": object{}})
		return status
	}
	ready := func() (int, string) {
		status, answer := p.try("GET", "/health/ready", nil)
		return status, fmt.Sprint(answer["reasons"])
	}
	if err := os.Rename(db, db+".away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not ready", func() bool {
		status, reasons := ready()
		return status == http.StatusServiceUnavailable && strings.Contains(reasons, "deleted or replaced")
	})
	if status := publish(); status != http.StatusServiceUnavailable {
		t.Errorf("a write is answered %d", status)
	}
	p.call("GET", "/callbacks", nil)
	if err := os.Rename(db+".away", db); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready again", func() bool { status, _ := ready(); return status == http.StatusOK })
	if status := publish(); status != http.StatusOK {
		t.Errorf("a write is answered %d", status)
	}
}
