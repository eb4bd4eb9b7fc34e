package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// describeMachine is what figures depend on. What the system does not tell is left out.
func describeMachine(ctx context.Context, dir string, size sizes) [][2]string {
	out := [][2]string{{"date", time.Now().UTC().Format(time.DateTime) + " UTC"}}
	add := func(what, value string) {
		if value != "" {
			out = append(out, [2]string{what, value})
		}
	}
	add("processor", strings.TrimSpace(fmt.Sprintf("%s, %d cores", field("/proc/cpuinfo", "model name"), runtime.NumCPU())))
	add("memory", field("/proc/meminfo", "MemTotal"))
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		add("kernel", runtime.GOOS+" "+strings.TrimSpace(string(kernel)))
	}
	add("file system", fileSystem(dir))
	add("Go", runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	add("callbackd", engine.Version)
	add("SQLite", sqliteVersion(ctx))
	add("sizes", size.describe())
	add("commit", "every commit is synced (synchronous=FULL), ours and the bare loop's")
	return out
}

// field is the first value of a name in a file of "name: value" lines.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem is the type of the one that holds dir. On one in memory, a sync costs nothing.
func fileSystem(dir string) string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return ""
	}
	point, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(point) {
			continue
		}
		if rest, ok := strings.CutPrefix(dir, f[1]); ok && (f[1] == "/" || rest == "" || rest[0] == '/') {
			point, kind = f[1], f[2]
		}
	}
	if kind == "tmpfs" {
		kind += " (in memory: syncs cost nothing here, choose another -dir)"
	}
	return kind
}

func sqliteVersion(ctx context.Context) (version string) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return ""
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return ""
	}
	return version
}
