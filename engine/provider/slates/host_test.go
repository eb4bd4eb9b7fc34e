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
	for args, want := range map[string]string{
		"":         "usage: slates-stdio.mjs",
		"gone.mjs": "there is no ", "none.mjs": "which of its exports is the integration", "two.mjs": "--export: a, b",
		"--export c two.mjs": "has no export c; it has: a, b", "odd.mjs": "say it with --handler", "broken.mjs": "no database",
		"--handler serve.mjs odd.mjs": "gave neither a function nor an object", "x": "install tsx",
	} {
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
	c.Stdin = strings.NewReader("no json\n\n" + `{"messages":[{"id":"1","method":"throw"},{"method":"note"}]}` + "\n" + `{"messages":[{"id":2,"method":"other"},{"id":"3","method":"slates/provider.identify"}]}` + "\n")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, want := range []string{"the line is no batch", `"thrown"`, "did not answer"} {
		if len(lines) != 3 || !strings.Contains(lines[i], want) || !json.Valid([]byte(lines[i])) {
			t.Fatalf("answered %q, want %q in line %d", lines, want, i)
		}
	}
	if !strings.Contains(lines[2], `"id":2,"error"`) || !strings.Contains(lines[2], `"id":"3","result"`) {
		t.Errorf("answered %s", lines[2])
	}
}
