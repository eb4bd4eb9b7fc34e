package main

import (
	"bytes"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// tiny has every kind of round run once.
var tiny = sizes{
	name: "tiny", rounds: 1, span: 50 * time.Millisecond, feeds: 1, diskEvents: 200,
	events: []int{400}, triggers: []int{200}, waiting: []int{100}, destinations: []int{20}, readerEvents: 400, oldEvents: 400,
	pollSpan: 2 * time.Second, catchUp: time.Second, hangSpan: 100 * time.Millisecond, watchSpan: 100 * time.Millisecond,
}

// Sections run to their end and lose no event. Whether goals are met says nothing at such
// sizes.
func TestSections(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sections string
		want     []string
	}{
		"rates":    {"throughput|latency|disk", []string{"| engine.Publish, 32 goroutines", "| polled: provider http", "p99", "| disk per delivered event", "| largest WAL"}},
		"triggers": {"triggers", []string{"## Triggers", "| 200 triggers"}},
		"scale":    {"destinations|waiting|readers|retention", []string{"## Destinations", "## Notifications waiting", "## List requests", "old events are removed"}},
		"daemon":   {"start|memory|events", []string{"fresh file", "idle", "at saturation", "400 events", "## Lists"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "daemon" && runtime.GOOS == "windows" {
				t.Skip("a process cannot be told to end in order there")
			}
			r, err := run(t.Context(), tiny, regexp.MustCompile("^("+c.sections+")$"), t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.failures {
				t.Error(f)
			}
			var out bytes.Buffer
			r.print(&out)
			if testing.Verbose() {
				t.Log(out.String())
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the report lacks %q", want)
				}
			}
			if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
				t.Errorf("a figure is none:\n%s", out.String())
			}
		})
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	body := payload(1234567)
	if len(body) != payloadSize {
		t.Errorf("it has %d bytes", len(body))
	}
	for _, wrapped := range []string{string(body), `{"data":` + string(body) + `}`} {
		if n, err := numberOf([]byte(wrapped)); err != nil || n != 1234567 {
			t.Errorf("its number is %d, %v", n, err)
		}
	}
	for _, other := range []string{"", "{}", `{"a":"b"}`} {
		if _, err := numberOf([]byte(other)); err == nil {
			t.Errorf("%q has a number", other)
		}
	}
}

// What is lost, repeated or signed with another key is told.
func TestSink(t *testing.T) {
	t.Parallel()
	s := &sink{secrets: []string{"whsec_" + strings.Repeat("A", 32)}}
	s.take(0, nil, payload(0))
	if _, err := s.wait(t.Context(), 1); err == nil {
		t.Error("a receipt without a signature is taken")
	}
	s = &sink{secrets: []string{"", ""}, fanOut: true, all: 1} // the next to be verified is far away
	for _, destination := range []int{0, 1, 1} {
		s.take(destination, nil, payload(7))
	}
	if _, err := s.wait(t.Context(), 2); err != nil {
		t.Error(err)
	}
	if _, err := s.wait(t.Context(), 1); err == nil {
		t.Error("more receipts than events are taken")
	}
}
