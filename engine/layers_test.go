package engine_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Imports run one way, and each library is known in one place.
func TestLayers(t *testing.T) {
	t.Parallel()
	const module = "github.com/callbackd/callbackd"
	only := map[string]string{ // import: the packages that may have it
		"modernc.org/sqlite":                       "store",
		"github.com/gofrs/flock":                   "store",
		module + "/store/internal/db":              "store",
		"github.com/robfig/cron/v3":                "engine engine/provider/schedule",
		"github.com/santhosh-tekuri/jsonschema/v6": "engine",
		"github.com/mmcdole/gofeed":                "engine/provider/feed",
		"github.com/itchyny/gojq":                  "engine/internal/jq",
		"github.com/julienschmidt/httprouter":      "httpapi",
		module + "/httpapi":                        "cmd/callbackd",
		"github.com/alecthomas/kong":               "cmd/callbackd",
		"github.com/lmittmann/tint":                "cmd/callbackd",
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{range .Imports}} {{.}}{{end}}`, module+"/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		if pkg = strings.TrimPrefix(pkg, module+"/"); pkg == "bench" || pkg == "examples/provider/run" {
			continue // one measures each layer, and a bare loop beside them; the other is a daemon, too
		}
		for _, imported := range strings.Fields(imports) {
			if allowed, ok := only[imported]; ok && !slices.Contains(strings.Fields(allowed), pkg) {
				t.Errorf("%s imports %s, which is only for %s", pkg, imported, allowed)
			}
			if strings.HasPrefix(pkg, "store") && strings.HasPrefix(imported, module+"/engine") {
				t.Errorf("%s imports %s: imports run from the engine to the store", pkg, imported)
			}
		}
	}
}

// A program that embeds the engine links nothing that only the daemon needs.
func TestEmbeddersLinkNoDaemon(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "github.com/callbackd/callbackd/examples/embed").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, unwanted := range []string{"httprouter", "lmittmann/tint", "alecthomas/kong", "callbackd/httpapi", "pgregory.net/rapid"} {
		if strings.Contains(string(out), unwanted) {
			t.Errorf("it links %s", unwanted)
		}
	}
}
