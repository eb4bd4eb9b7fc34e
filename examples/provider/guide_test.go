package provider_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The guide shows what is tested: its code is that of these files, byte for byte, or a part of it.
func TestTheGuideShowsTheFilesThatAreTested(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/writing-a-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?s)<!-- (all|part) of ([^ ]+) -->\n```go\n(.*?)```\n").FindAllStringSubmatch(string(guide), -1) {
		file, err := os.ReadFile(filepath.Join("../..", m[2]))
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == "all" && m[3] != string(file) || !strings.Contains(string(file), m[3]) {
			t.Errorf("docs/writing-a-provider.md does not show what is in %s; it shows %.200s...", m[2], m[3])
		}
		shown[m[1]+" "+m[2]] = true
	}
	for _, want := range []string{"all examples/provider/provider.go", "all examples/provider/provider_test.go", "all examples/provider/auth.go", "all examples/provider/webhook.go", "all examples/provider/smallest/main.go"} {
		if !shown[want] {
			t.Errorf("the guide does not show %s", want)
		}
	}
	if blocks := strings.Count(string(guide), "```go\n"); blocks != len(regexp.MustCompile("-->\n```go\n").FindAllString(string(guide), -1)) {
		t.Error("some Go code of the guide is of no file that is tested")
	}
}
