#!/usr/bin/env node
// Serves a Slates integration over standard input and output: one batch {"messages": [...]} a
// line, answered by one line. Needs nothing but Node 20 or later, or Bun. README.md says how to use it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { format, parseArgs } from 'node:util';

const usage = `usage: slates-stdio.mjs [--export NAME] [--handler FILE[#EXPORT]] [--check] INTEGRATION

  INTEGRATION  the integration's folder, or the file that exports it
  --export     the export that is the integration; default: provider, slate, integration or default
  --handler    a file that exports a function (integration) => (messages) => answers, where the host
               does not find by itself how the integration is given messages
  --check      say what was found and what the integration is called, and end`;

const maxImport = 30_000; // ms for a file to be imported
const maxProbe = 2000; // ms for a candidate to say what the integration is called

// Standard output is for answers alone: what an integration prints goes to standard error.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (chunk, encoding, done) => process.stderr.write(chunk, encoding, done);
const say = (prefix, args) => {
  for (const line of format(...args).split('\n')) process.stderr.write(`${prefix}${line}\n`);
};
for (const level of ['log', 'info', 'debug', 'trace', 'dir']) console[level] = (...args) => say('debug: ', args);
for (const level of ['warn', 'error']) console[level] = (...args) => say('', args);

const isObject = value => value !== null && typeof value === 'object';

// --- The integration -------------------------------------------------------------------------

function readJSON(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

// strings are all texts in an entry of "exports", those for import first.
function strings(entry) {
  if (typeof entry === 'string') return [entry];
  if (!isObject(entry)) return [];
  const first = [...(process.versions.bun ? ['bun'] : []), 'node', 'import', 'module', 'default'];
  const rest = Object.keys(entry).filter(key => !first.includes(key) && !['types', 'require'].includes(key));
  return [...first, ...rest].flatMap(key => strings(entry[key]));
}

// entryOf is the file that a folder's package is imported by. The source of an integration is what
// somebody reads and changes, so it comes first where it can be run; of a library, what its exports say does,
// because the integration imports that, too.
function entryOf(folder, isLibrary = false) {
  const pkg = readJSON(join(folder, 'package.json')) ?? {};
  const exported = isObject(pkg.exports) && '.' in pkg.exports ? pkg.exports['.'] : pkg.exports;
  const built = [...strings(exported), pkg.module, pkg.main, 'dist/index.mjs', 'dist/index.js', 'index.mjs', 'index.js'];
  const sources = [pkg.source, 'src/index.ts', 'src/index.mts', 'src/index.tsx', 'src/index.js', 'index.ts'];
  const isSource = file => /\.[mc]?tsx?$/.test(file);
  const order = (isLibrary ? [...built, ...sources] : [...sources, ...built]).filter(file => typeof file === 'string' && !file.endsWith('.d.ts'));
  const there = order.filter(file => existsSync(join(folder, file)) && statSync(join(folder, file)).isFile());
  const file = there.find(f => !isSource(f) || runsTypeScript(folder)) ?? there[0];
  if (!file) throw new Error(`${folder} has no package.json with an entry, and no src/index.ts, index.js or dist/index.js`);
  return join(folder, file);
}

function runsTypeScript(folder) {
  return Boolean(process.versions.bun || process.versions.deno || process.features.typescript || usesTSX() || findTSX(folder));
}

const usesTSX = () => [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some(arg => arg.includes('tsx'));

// findTSX is the module of the workspace's tsx that lets Node run TypeScript.
function findTSX(folder) {
  for (let dir = folder; ; dir = dirname(dir)) {
    const tsx = join(dir, 'node_modules', 'tsx');
    const entry = strings(readJSON(join(tsx, 'package.json'))?.exports?.['./esm/api'])[0];
    if (entry) return join(tsx, entry);
    if (dir === dirname(dir)) return undefined;
  }
}

let hasTSX = Boolean(process.versions.bun) || usesTSX(); // or what is as good

async function load(file) {
  // A built file, too, may import packages of the workspace that are TypeScript.
  const tsx = hasTSX ? undefined : findTSX(dirname(file));
  if (tsx) {
    (await import(pathToFileURL(tsx).href)).register();
    hasTSX = true;
  }
  if (/\.[mc]?tsx?$/.test(file) && !hasTSX && !process.features.typescript && !process.versions.deno)
    throw new Error(`${file} is TypeScript: run this with bun, or install tsx in the workspace (npm install --save-dev tsx), or build the integration`);
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${file} is still being imported after ${maxImport / 1000} s: does it wait for something?`)), maxImport); });
  try {
    return await Promise.race([import(pathToFileURL(file).href), late]);
  } catch (error) {
    throw located(error, pathToFileURL(file).href);
  } finally {
    clearTimeout(timer);
  }
}

const isForeign = line => !line.includes('node:') && !line.includes(import.meta.url);

// located puts the place of an error behind its message.
function located(error, url) {
  if (!(error instanceof Error)) return new Error(`it failed to load: ${format(error)}`);
  const place = text => /(?:file:\/\/|\/|[A-Z]:\\)[^\s()]+:\d+(?::\d+)?/.exec(text.split('\n').filter(isForeign).join('\n'))?.[0];
  let at = place(error.stack ?? '');
  if (!at && error instanceof SyntaxError && !process.versions.bun) {
    // Node tells it only to those who do not catch it.
    const told = spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '-e', `import ${JSON.stringify(url)}`], { encoding: 'utf8', timeout: 10_000 });
    at = place(told.stderr ?? '');
  }
  if (at && !error.message.includes(at)) error.message += ` (at ${at})`;
  return error;
}

const own = ['handleMessages', 'handleBatch', 'handleMessage', 'handle', 'sendMessages', 'send', 'dispatch', 'request', 'process', 'fetch'];

function integrationOf(module, name, file) {
  if (name) {
    if (!(name in module)) throw new Error(`${file} has no export ${name}; it has: ${Object.keys(module).join(', ') || 'none'}`);
    return module[name];
  }
  // A CommonJS file's exports are those of its default.
  const all = { ...(isObject(module.default) && isObject(module.default.default) ? module.default : {}), ...module };
  for (const key of ['provider', 'slate', 'integration', 'default']) {
    if (isObject(all[key]) || typeof all[key] === 'function') {
      const inner = key === 'default' && isObject(all.default) ? all.default.provider ?? all.default.slate : undefined;
      return inner ?? all[key];
    }
  }
  const objects = Object.values(all).filter(isObject);
  if (objects.length === 1) return objects[0];
  throw new Error(`${file}: which of its exports is the integration? Say it with --export: ${Object.keys(all).join(', ') || 'it has none'}`);
}

// --- Giving it messages ----------------------------------------------------------------------

// answersOf reads what a handler returned: a list of messages, a batch, a Response, or one message.
async function answersOf(value) {
  value = await value;
  if (typeof Response !== 'undefined' && value instanceof Response) value = await value.json();
  if (typeof value === 'string') value = JSON.parse(value);
  if (Array.isArray(value)) return value;
  if (Array.isArray(value?.messages)) return value.messages;
  if (isObject(value) && ('result' in value || 'error' in value)) return [value];
  return undefined;
}

const isAnswer = m => isObject(m) && ('result' in m || 'error' in m);

// ways are the ways to give messages to a handler, which is a function or an object with methods.
function ways(handler) {
  const list = [];
  const one = (call, name) => {
    if (name === 'fetch') {
      return list.push([name, messages => call(new Request('http://slates.invalid/', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ messages }) }))]);
    }
    if (name !== 'handleMessage') {
      list.push([`${name}(messages)`, messages => call(messages)]);
      list.push([`${name}({messages})`, messages => call({ messages })]);
    }
    list.push([`${name}(message)`, async messages => {
      const answers = [];
      for (const message of messages) answers.push(...((await answersOf(call(message))) ?? []));
      return answers;
    }]);
  };
  if (typeof handler === 'function') one(handler, '');
  if (isObject(handler) || typeof handler === 'function') {
    for (const name of own) if (typeof handler[name] === 'function') one(handler[name].bind(handler), name);
  }
  return list;
}

// probe asks what the integration is called; false: this is not how it is given messages. Some want an
// id on each message, as callbackd then finds out, too.
async function probe(make) {
  const id = `probe-${Math.random()}`;
  const batch = [
    { jsonrpc: '2.0', method: 'slates/hello', params: { protocol: 'slates@2026-01-01' } },
    { jsonrpc: '2.0', method: 'slates/participant.set', params: { participants: [{ type: 'hub', id: 'callbackd', name: 'callbackd' }] } },
    { jsonrpc: '2.0', method: 'slates/config.set', params: { config: {} } },
    { jsonrpc: '2.0', method: 'slates/session.start', params: { sessionId: id, state: {} } },
    { jsonrpc: '2.0', id, method: 'slates/provider.identify', params: {} }
  ];
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer')), maxProbe); });
  const ask = async messages => {
    const answers = await answersOf((await make())(structuredClone(messages)));
    const answer = answers?.find(m => isAnswer(m) && m.id === id);
    return answer && isObject(answer.result) ? answer.result : false;
  };
  const withIDs = () => ask(batch.map((message, n) => ({ id: `${id}-${n}`, ...message })));
  try {
    return await Promise.race([ask(batch).then(identity => identity || withIDs(), error => withIDs().catch(() => { throw error; })), late]);
  } catch (error) {
    why = error;
    return false;
  } finally {
    clearTimeout(timer);
  }
}
let why; // the last probe failed

// libraries are the packages named slates and @slates/... that the integration can import, and those of
// its workspace.
function libraries(folder) {
  const found = new Map();
  const add = dir => {
    const name = readJSON(join(dir, 'package.json'))?.name;
    if (typeof name === 'string' && /^(slates|@slates\/[^/]+)$/.test(name) && !found.has(name)) found.set(name, realpathSync(dir));
  };
  const children = dir => (existsSync(dir) ? readdirSync(dir).map(name => join(dir, name)) : []);
  for (let dir = folder; ; dir = dirname(dir)) {
    for (const child of [join(dir, 'node_modules', 'slates'), ...children(join(dir, 'node_modules', '@slates')), ...children(join(dir, 'packages'))]) add(child);
    if (dir === dirname(dir)) break;
  }
  const rank = name => ['slates', '@slates/provider', '@slates/server', '@slates/protocol', '@slates/proto', '@slates/client'].indexOf(name);
  return [...found].filter(([name]) => !/\/(cli|oauth.*|eslint.*|tsconfig.*)$/.test(name))
    .sort(([a], [b]) => (rank(a) + 100) % 100 - (rank(b) + 100) % 100);
}

const makers = /^(create|make|new|build)\w*(Transport|Handler|Server|Protocol|Manager|Runner|Host|Connection)$/;
const classes = /^\w*(Transport|Handler|Server|Protocol|Manager|Runner|Host|Connection)$/;
const direct = /^(handle|process|dispatch|invoke|run)\w*(Messages?|Batch|Requests?)$/;
const unwanted = /client|http|https|fetch|listen|socket|stdio|oauth|remote|hub/i;

// candidates are functions that give a fresh handler for each batch, so that nothing of one is left for
// the next.
async function* candidates(integration, module, folder) {
  for (const [name, way] of ways(integration)) yield [`the integration's own ${name || 'function'}`, async () => way];
  for (const name of own) if (typeof module[name] === 'function') for (const [shape, way] of ways(module[name])) yield [`its module's ${name}${shape}`, async () => way];
  for (const [name, dir] of libraries(folder)) {
    let library;
    try {
      library = await load(entryOf(dir, true));
    } catch (error) {
      console.debug(`${name} cannot be imported: ${error.message}`);
      continue;
    }
    const exported = Object.entries(library).filter(([, value]) => typeof value === 'function').map(([key]) => key);
    // What works in one process comes first.
    exported.sort((a, b) => /local|memory/i.test(b) - /local|memory/i.test(a));
    for (const key of exported.filter(key => /local|memory/i.test(key) || !unwanted.test(key))) {
      for (const args of [[{ slate: integration, provider: integration, integration }], [integration]]) {
        const isClass = /^class\b/.test(Function.prototype.toString.call(library[key]));
        if (isClass ? !classes.test(key) : !makers.test(key)) continue;
        const build = () => (isClass ? new library[key](...args) : library[key](...args));
        let shapes = [];
        try {
          shapes = ways(await build());
        } catch (error) {
          why = error;
        }
        for (const [index, [shape]] of shapes.entries()) yield [`${key} of ${name}, ${shape}`, async () => ways(await build())[index][1]];
      }
      if (direct.test(key)) {
        yield [`${key} of ${name}`, async () => messages => library[key](integration, messages)];
        yield [`${key} of ${name}`, async () => messages => library[key](integration, { messages })];
        yield [`${key} of ${name}`, async () => messages => library[key]({ slate: integration, provider: integration, integration, messages })];
      }
    }
  }
}

async function handlerFor(integration, module, folder, given) {
  if (given) {
    const [file, name = 'default'] = given.split('#');
    const made = (await load(resolve(file)))[name];
    if (typeof made !== 'function') throw new Error(`${file} does not export a function ${name}`);
    const make = async () => {
      const handler = await made(integration);
      const list = ways(handler);
      if (list.length === 0) throw new Error(`${given} gave neither a function nor an object with ${own.join(', ')}`);
      return list[0][1];
    };
    const identity = await probe(make);
    if (!identity) throw new Error(`${given} does not answer slates/provider.identify: ${why?.stack ?? why ?? 'nothing was answered'}`);
    return { make, identity, how: given };
  }
  const tried = [];
  for await (const [how, make] of candidates(integration, module, folder)) {
    const identity = await probe(make);
    if (identity) return { make, identity, how };
    tried.push(how);
  }
  throw new Error(`it was not found how this integration is given messages; say it with --handler (see README.md). Tried: ${tried.join('; ') || 'nothing, as no package slates or @slates/... was found'}${why ? `. The last failure: ${why.message}` : ''}`);
}

// --- Serving ---------------------------------------------------------------------------------

const failed = (id, code, message) => ({ jsonrpc: '2.0', id, error: { code, kind: 'internal', message } });

// The messages in front of a request.
const state = new Set(['slates/hello', 'slates/participant.set', 'slates/config.set', 'slates/auth.set', 'slates/session.start']);

// answer never throws. What goes wrong is the error of the request, if there is one; of several, it is
// that of none, and who sent them sends them one by one.
async function answer(make, line) {
  let messages;
  try {
    messages = JSON.parse(line).messages;
    if (!Array.isArray(messages)) throw new Error('it has no messages');
  } catch (error) {
    return { messages: [failed(null, 'request.invalid', `the line is no batch: ${error.message}`)] };
  }
  const requests = messages.filter(m => isObject(m) && 'id' in m && !state.has(m.method));
  const id = requests.length === 1 ? requests[0].id : null;
  try {
    const handle = await make();
    const answers = ((await answersOf(handle(messages))) ?? []).filter(isAnswer);
    if (id !== null && answers.length === 0) answers.push(failed(id, 'internal.error', 'the integration did not answer'));
    return { messages: answers };
  } catch (error) {
    console.error(error?.stack ?? error);
    return { messages: [failed(id, 'internal.error', String(error?.message ?? error))] };
  }
}

// lines ends a line at a line feed alone: to node:readline, of Node 24, characters that texts may have end one, too.
async function* lines(input) {
  const begun = [];
  for await (const chunk of input.setEncoding('utf8')) {
    const [first, ...others] = chunk.split('\n');
    begun.push(first);
    for (const next of others) {
      yield begun.splice(0).join('');
      begun.push(next);
    }
  }
  yield begun.join('');
}

async function main() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { export: { type: 'string' }, handler: { type: 'string' }, check: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help || positionals.length !== 1) {
    say('', [usage]);
    process.exit(values.help ? 0 : 2);
  }
  const path = resolve(positionals[0]);
  if (!existsSync(path)) throw new Error(`there is no ${path}`);
  const file = statSync(path).isDirectory() ? entryOf(path) : path;
  const module = await load(file);
  const { make, identity, how } = await handlerFor(integrationOf(module, values.export, file), module, dirname(file), values.handler);
  const name = identity.name ?? identity.provider?.name ?? basename(file, extname(file));
  console.debug(`serving ${name} from ${file}, by ${how}`);
  if (values.check) {
    say('', [`${name}: served by ${how}`]);
    process.exit(0);
  }
  for await (const line of lines(process.stdin)) {
    if (line.trim() === '') continue;
    const text = JSON.stringify(await answer(make, line));
    await new Promise(done => write(`${text}\n`, done));
  }
  process.exit(0); // whatever timers the integration has left
}

process.on('unhandledRejection', reason => console.error('unhandled rejection:', reason));
main().catch(error => {
  const frames = (error.stack ?? '').split('\n').filter(line => /^\s+at /.test(line) && isForeign(line));
  for (const frame of frames) console.error(frame);
  console.error(`slates-stdio: ${error.message}`); // last: it is what callbackd repeats
  process.exit(1);
});
