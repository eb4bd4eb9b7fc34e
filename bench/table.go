package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is one line of the report: a figure, and what it should be.
type row struct {
	what  string
	goal  string
	value string
	ratio string // "": there is nothing to compare it with
	met   string // yes, no, skipped, or "" for a yardstick
}

// table is a scale table, or any other.
type table struct {
	title string
	note  string // a paragraph in front; "": none
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// report is all that was measured.
type report struct {
	machine  [][2]string
	rows     []row
	scale    []*table
	failures []string
}

func (r *report) add(rows ...row) { r.rows = append(r.rows, rows...) }
func (r *report) table(t *table)  { r.scale = append(r.scale, t) }
func (r *report) skip(what, goal, why string) {
	r.add(row{what: what, goal: goal, value: why, met: "skipped"})
}
func (r *report) fail(what string, err error) {
	r.failures = append(r.failures, fmt.Sprintf("%s: %v", what, err))
}

// print writes the report as Markdown.
func (r *report) print(w io.Writer) {
	for _, m := range r.machine {
		fmt.Fprintf(w, "- %s: %s\n", m[0], m[1])
	}
	fmt.Fprintln(w)
	main := table{head: []string{"what", "goal", "value", "ratio", "met"}}
	for _, l := range r.rows {
		main.add(l.what, l.goal, l.value, l.ratio, l.met)
	}
	if len(main.rows) > 0 {
		main.print(w)
	}
	for _, t := range r.scale {
		t.print(w)
	}
	if len(r.failures) > 0 {
		fmt.Fprint(w, "## Not run to the end\n\n")
		for _, f := range r.failures {
			fmt.Fprintf(w, "- %s\n", f)
		}
	}
}

func (t *table) print(w io.Writer) {
	if t.title != "" {
		fmt.Fprintf(w, "## %s\n\n", t.title)
	}
	if t.note != "" {
		fmt.Fprintf(w, "%s\n\n", t.note)
	}
	widths := make([]int, len(t.head))
	lines := append([][]string{t.head}, t.rows...)
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	rule := make([]string, len(widths))
	for i, n := range widths {
		rule[i] = strings.Repeat("-", max(n, 3))
	}
	for _, line := range slices.Insert(lines, 1, rule) {
		for i, cell := range line {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", max(widths[i], 3)-len([]rune(cell))))
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintln(w)
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// count groups the digits of a number.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ratio(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64) + " ms"
}

func megabytes(bytes int64) string {
	return strconv.FormatFloat(float64(bytes)/1e6, 'f', 1, 64) + " MB"
}

// median is the middle of some figures, or the mean of the two in the middle.
func median[T float64 | time.Duration](figures []T) T {
	if len(figures) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile is the figure that a share of all are not above; it sorts them.
func quantile(figures []time.Duration, share float64) time.Duration {
	if len(figures) == 0 {
		return 0
	}
	slices.Sort(figures)
	return figures[min(int(share*float64(len(figures))), len(figures)-1)]
}
