//go:build unix

package slates_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

// integrationJS is an integration without any way of its own to be given messages.
const integrationJS = `
console.log('loading', {a: 1});
process.stdout.write('not an answer\n');
export const provider = {
  name: 'Demo',
  poll: async ({config, state}) => {
    console.log('polled');
    const last = (state?.last ?? 0) + 1;
    return {inputs: [{n: last, team: config.team}], updatedState: {last}};
  },
  map: async input => {
    if (input.n === 3) throw new Error('cannot map 3');
    return {type: 'counted', id: String(input.n), output: input};
  }
};
`

// frameworkJS is a library that serves such integrations, with a state for each of its transports.
const frameworkJS = `
const results = {
  'slates/provider.identify': slate => ({provider: {name: slate.name}}),
  'slates/actions.list': () => ({actions: [{id: 'count', type: 'action.trigger', name: 'Count', invocation: {type: 'polling', intervalSeconds: 60}}]}),
  'slates/config.schema.get': () => ({schema: null}),
  'slates/auth.methods.list': () => ({authenticationMethods: []}),
  'slates/action.trigger.poll_events': (slate, {state}, session) => slate.poll({config: session.config, state}),
  'slates/action.trigger.map_event': (slate, {input}) => slate.map(input)
};
export const createHTTPServer = () => { throw new Error('not to be called'); };
export function createLocalSlateTransport({slate}) {
  const session = {};
  return {
    async send(messages) {
      const answers = [];
      for (const m of messages) {
        if (m.method === 'slates/hello') { if (session.hello) throw new Error('a second hello'); session.hello = true; }
        if (m.method === 'slates/config.set') session.config = m.params.config;
        if (m.id === undefined) continue;
        try {
          answers.push({jsonrpc: '2.0', id: m.id, result: await results[m.method](slate, m.params, session)});
        } catch (e) {
          answers.push({jsonrpc: '2.0', id: m.id, error: {code: 'upstream.error', kind: 'upstream', message: e.message}});
        }
      }
      return answers;
    }
  };
}
`

// workspace writes files into a folder.
func workspace(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func node(t *testing.T) (path, host string) {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if host, err = filepath.Abs("host/slates-stdio.mjs"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(host); err != nil { // so that go test knows that the result depends on it
		t.Fatal(err)
	}
	return path, host
}

// Of an integration that cannot be loaded, the last line says where.
func TestHostSaysWhatDoesNotLoad(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	for name, want := range map[string]string{"throws.mjs": "throws.mjs:2", "imports.mjs": "syntax.mjs:2", "lacks.mjs": "imported from"} {
		dir := workspace(t, map[string]string{"throws.mjs": "const f = undefined;\nf();\n", "syntax.mjs": "const a = 1;\nconst b = ;\n", "imports.mjs": "import './syntax.mjs';", "lacks.mjs": "import 'nothing-of-that-name';"})
		out, err := exec.Command(node, host, "--check", filepath.Join(dir, name)).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if last := lines[len(lines)-1]; err == nil || !strings.HasPrefix(last, "slates-stdio: ") || !strings.Contains(last, want) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

// The host finds how an integration is given messages, and serves it.
func TestHost(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	module := `{"type": "module", "exports": {".": {"types": "./x.d.ts", "default": "./src/index.js"}}}`
	library := map[string]string{
		"integrations/demo/package.json":           module,
		"integrations/demo/src/index.js":           integrationJS,
		"node_modules/@slates/client/package.json": `{"name": "@slates/client", "type": "module", "main": "index.js"}`,
		"node_modules/@slates/client/index.js":     frameworkJS,
	}
	for name, c := range map[string]struct {
		files map[string]string
		args  string
	}{
		"a library of the workspace": {library, "integrations/demo"},
		"a file":                     {library, "integrations/demo/src/index.js"},
		"a package of the workspace": {map[string]string{"integrations/demo/src/index.js": integrationJS, "integrations/demo/package.json": module,
			"packages/client/package.json": `{"name": "@slates/client", "type": "module"}`, "packages/client/src/index.js": frameworkJS}, "integrations/demo"},
		"its own function": {map[string]string{"index.mjs": strings.Replace(integrationJS, "const provider", "const inner", 1) + frameworkJS + `
			export const slate = {handleMessages: messages => createLocalSlateTransport({slate: inner}).send(messages)};`}, "--export slate index.mjs"},
		"a fetch handler": {map[string]string{"index.mjs": strings.Replace(integrationJS, "export", "", 1) + strings.ReplaceAll(frameworkJS, "export", "") + `
			export default {fetch: async request => Response.json({messages: await createLocalSlateTransport({slate: provider}).send((await request.json()).messages)})};`}, "index.mjs"},
		"a handler of the user's": {map[string]string{"index.mjs": integrationJS, "lib.mjs": frameworkJS,
			"serve.mjs": `import {createLocalSlateTransport} from './lib.mjs'; export default slate => { const t = createLocalSlateTransport({slate}); return messages => t.send(messages); };`}, "--handler DIR/serve.mjs index.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := workspace(t, c.files)
			args := strings.Fields(strings.ReplaceAll(c.args, "DIR", dir))
			args[len(args)-1] = filepath.Join(dir, args[len(args)-1])
			p := provider(t, slates.Options{Target: fmt.Sprintf("exec:'%s' '%s' %s", node, host, strings.Join(args, " "))})
			if p.Name != "Demo" {
				t.Errorf("it is called %q", p.Name)
			}
			var state json.RawMessage
			for i := range 3 {
				r, err := p.Triggers[0].Poll(t.Context(), engine.PollRequest{Source: source(), State: state})
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf(`{"n":%d,"team":"a"}`, i+1); len(r.Inputs) != 1 || string(r.Inputs[0]) != want {
					t.Fatalf("found %s, want %s", r.Inputs, want)
				}
				state = r.State
				m, err := p.Triggers[0].Map(t.Context(), engine.MapRequest{Source: source(), Input: r.Inputs[0]})
				if i == 2 && (err == nil || !strings.Contains(err.Error(), "cannot map 3")) || i < 2 && (err != nil || m.SourceID != fmt.Sprint(i+1)) {
					t.Errorf("mapped %+v, %v", m, err)
				}
			}
		})
	}
}

// What cannot be served says why.
func TestHostSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	dir := workspace(t, map[string]string{"none.mjs": "", "two.mjs": "export const a = {}, b = {};", "odd.mjs": "export default {name: 'x'};",
		"broken.mjs": "throw new Error('no database');", "serve.mjs": "export default () => 7;", "x/src/index.ts": "export let provider: any = {}"})
	wants := map[string]string{
		"":         "usage: slates-stdio.mjs",
		"gone.mjs": "there is no ", "none.mjs": "which of its exports is the integration", "two.mjs": "--export: a, b",
		"--export c two.mjs": "has no export c; it has: a, b", "odd.mjs": "say it with --handler", "broken.mjs": "no database",
		"--handler serve.mjs odd.mjs": "gave neither a function nor an object", "x": "install tsx",
	}
	if runs, _ := exec.Command(node, "--print", "Boolean(process.features.typescript)").Output(); strings.HasPrefix(string(runs), "true") {
		delete(wants, "x")
	}
	for args, want := range wants {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, node, append([]string{host}, strings.Fields(args)...)...)
		c.Dir = dir
		var errs strings.Builder
		c.Stderr = &errs
		if out, err := c.Output(); err == nil || len(out) > 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %v, printed %q, and on standard error %q, want %q", args, err, out, errs.String(), want)
		}
	}
}

// The host answers every line and every request, and ends with its input.
func TestHostAnswersEveryRequest(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	dir := workspace(t, map[string]string{"index.mjs": `export default {handleMessages: async ms => {
		if (ms.some(m => m.method === 'throw')) throw new Error('thrown');
		setInterval(() => {}, 1000);
		Promise.reject(new Error('nobody waits'));
		return ms.filter(m => m.method === 'slates/provider.identify').map(m => ({jsonrpc: '2.0', id: m.id, result: {name: 'x'}}));
	}};`})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, node, host, filepath.Join(dir, "index.mjs"))
	c.Stdin = strings.NewReader("no json\n\n" + `{"messages":[{"id":"1","method":"throw"},{"method":"slates/hello"}]}` + "\n" + `{"messages":[{"id":"2","method":"other"}]}` + "\n" +
		`{"messages":[{"id":"3","method":"throw"},{"id":"4","method":"throw"}]}` + "\n" + `{"messages":[{"id":"5","method":"other"},{"id":"6","method":"slates/provider.identify"}]}` + "\n")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, want := range []string{`"id":null,"error":{"code":"request.invalid","kind":"internal","message":"the line is no batch`, `"id":"1","error":{"code":"internal.error","kind":"internal","message":"thrown"`,
		`"id":"2","error":{"code":"internal.error","kind":"internal","message":"the integration did not answer"`,
		`"id":null,"error":{"code":"internal.error","kind":"internal","message":"thrown"`, `{"messages":[{"jsonrpc":"2.0","id":"6","result":{"name":"x"}}]}`} {
		if len(lines) != 5 || !strings.Contains(lines[i], want) || !json.Valid([]byte(lines[i])) {
			t.Fatalf("answered %q, want %q in line %d", lines, want, i)
		}
	}
}

// A text may have what JavaScript, but not JSON, takes for the end of a line.
func TestHostTakesEveryText(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	dir := workspace(t, map[string]string{"index.mjs": `
		const result = m => m.method === 'slates/actions.list' ? {actions: [{id: 'count', type: 'action.trigger', invocation: {type: 'polling', intervalSeconds: 60}}]}
			: m.method === 'slates/action.trigger.map_event' ? {type: 'said', id: m.params.input, output: {}}
			: {name: 'x', authenticationMethods: []};
		export default {handleMessages: async ms => ms.filter(m => m.id).map(m => ({jsonrpc: '2.0', id: m.id, result: result(m)}))};`})
	p := provider(t, slates.Options{Target: fmt.Sprintf("exec:'%s' '%s' '%s'", node, host, filepath.Join(dir, "index.mjs"))})
	for _, text := range []string{"a\u2028b", "a\u2029b", "a\u0085b", "\u00e9\U0001F600", strings.Repeat("\u20ac", 100_000)} {
		if m, err := p.Triggers[0].Map(t.Context(), engine.MapRequest{Source: source(), Input: json.RawMessage(`"` + text + `"`)}); err != nil || m.SourceID != text {
			t.Errorf("%.10q: %.10q %v", text, m.SourceID, err)
		}
	}
	c := exec.CommandContext(t.Context(), node, host, filepath.Join(dir, "index.mjs"))
	c.Stdin = strings.NewReader("{\"messages\":[{\"id\":\"a\u2028b\",\"method\":\"slates/provider.identify\"}]}") // nor does a line need an end
	if out, err := c.Output(); err != nil || !strings.Contains(string(out), "\"id\":\"a\u2028b\",\"result\"") {
		t.Errorf("answered %s, %v", out, err)
	}
}

// However the integration's own code answers a batch, every input that can be mapped is.
func TestHostServesOddHandlers(t *testing.T) {
	t.Parallel()
	node, host := node(t)
	const answering = `
		const result = m => m.method === 'slates/actions.list' ? {actions: [{id: 'count', type: 'action.trigger', invocation: {type: 'polling', intervalSeconds: 60}}]}
			: m.method === 'slates/action.trigger.poll_events' ? {inputs: [{n: 0}, {n: 1}, {n: 2}]}
			: m.method === 'slates/action.trigger.map_event' ? {type: 'counted', id: String(m.params.input.n), output: {}}
			: {name: 'x', authenticationMethods: []};
		const answer = m => ({jsonrpc: '2.0', id: m.id, result: result(m)});
		const bad = m => m.method === 'slates/action.trigger.map_event' && m.params.input.n === 1;`
	for name, handle := range map[string]string{
		"only the last is answered":        `ms => [answer(ms.at(-1))]`,
		"each is answered":                 `ms => ms.map(answer)`,
		"each must have an id":             `ms => { if (ms.some(m => m.id === undefined)) throw new Error('no id'); return ms.map(answer); }`,
		"one bad input throws for all":     `ms => { if (ms.some(bad)) throw new Error('bad input'); return ms.filter(m => m.id).map(answer); }`,
		"one bad input fails with no id":   `ms => ms.some(bad) ? [{id: null, error: {code: 'x.y', message: 'bad input'}}] : ms.filter(m => m.id).map(answer)`,
		"a null is answered in some place": `ms => [null, ...ms.filter(m => m.id).map(answer)]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := workspace(t, map[string]string{"index.mjs": answering + `export default {handleMessages: async ` + handle + `};`})
			p := provider(t, slates.Options{Target: fmt.Sprintf("exec:'%s' '%s' '%s'", node, host, filepath.Join(dir, "index.mjs"))})
			out, err := poll(t.Context(), p)
			if err != nil || len(out.Inputs) != 3 {
				t.Fatalf("%s %v", out.Inputs, err)
			}
			for i, input := range out.Inputs {
				m, err := p.Triggers[0].Map(t.Context(), engine.MapRequest{Source: source(), Input: input})
				if i == 1 && strings.HasPrefix(name, "one bad") {
					if err == nil || !strings.Contains(err.Error(), "bad input") {
						t.Errorf("the bad input: %+v %v", m, err)
					}
				} else if err != nil || m.SourceID != fmt.Sprint(i) {
					t.Errorf("input %d: %+v %v", i, m, err)
				}
			}
		})
	}
}
