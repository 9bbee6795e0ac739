import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { StateFailure, StoreFailure } from '../model/failure.ts';
import type * as api from './api.ts';
import { Interrupted } from './failure.ts';
import {
  cli,
  fakeIsobar,
  info,
  parkedChange,
  type Ran,
  type RunOptions,
  siteSync,
  syncReport,
  verifyReport,
} from './kit.test.ts';

const folder = mkdtempSync(join(tmpdir(), 'isobar-cli-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'isobar.yaml');
writeFileSync(
  file,
  'sites: { a: { kind: filesystem, path: a }, b: { kind: filesystem, path: b } }\ndatasets: { d: { sites: [a, b] } }\n',
);

function on(dataset: Partial<api.Dataset>, ...argv: string[]): Promise<Ran> {
  return cli(['--config', file, ...argv], { isobar: fakeIsobar(dataset) });
}

function plain(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return cli(['--config', file, ...argv], { isobar: fakeIsobar(), ...options });
}

test('put: from a file, from stdin, with metadata; data is on stdout, talk on stderr', async () => {
  const seen: { key: string; body: string; metadata: object }[] = [];
  const put: api.Dataset['put'] = async (key, body, metadata, signal) => {
    seen.push({ key, body: Buffer.from(await body.read({ from: 0, to: body.size })).toString(), metadata });
    return (await fakeIsobar().dataset('d')).put(key, body, metadata, signal);
  };
  const source = join(folder, 'body');
  writeFileSync(source, 'from a file');
  const flags = ['--content-type', 'text/x', '--meta', 'Owner=a=b', '--meta', 'x=', '--tag', 'T=1'];
  const ran = await on({ put }, 'put', 'd', 'k\n', source, ...flags);
  assert.deepEqual([ran.code, ran.stdout, ran.stderr], [0, '', 'k\\n is durable at a (11 B)\n']);
  await cli(['put', 'd', 'k', '--config', file, '--json'], {
    stdin: 'from stdin',
    isobar: fakeIsobar({ put }),
  });
  assert.deepEqual(seen, [
    {
      key: 'k\n',
      body: 'from a file',
      metadata: { contentType: 'text/x', user: { owner: 'a=b', x: '' }, tags: { T: '1' } },
    },
    { key: 'k', body: 'from stdin', metadata: { user: {}, tags: {} } },
  ]);
  assert.equal((await on({ put }, 'put', 'd', 'k', join(folder, 'none'))).code, 1);
  assert.equal((await on({ put }, 'put', 'd', 'k', '--meta', 'novalue')).code, 2);
});

test('put: a large body from a pipe can be read again from any place', async () => {
  const large = Buffer.alloc(9 * 1024 * 1024, 'x');
  large.write('middle', 5_000_000);
  let part = '';
  const put: api.Dataset['put'] = async (key, body, metadata, signal) => {
    part = Buffer.from(await body.read({ from: 5_000_000, to: 5_000_006 })).toString();
    assert.equal(body.size, large.length);
    return (await fakeIsobar().dataset('d')).put(key, body, metadata, signal);
  };
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('isobar-put-')).length;
  assert.equal((await plain(['put', 'd', 'k'], { stdin: large, isobar: fakeIsobar({ put }) })).code, 0);
  assert.equal(part, 'middle');
  assert.equal(readdirSync(tmpdir()).filter((name) => name.startsWith('isobar-put-')).length, before);
});

test('put: a file that changes while it is read is never acknowledged', async () => {
  const source = join(folder, 'changing');
  writeFileSync(source, 'before');
  const put: api.Dataset['put'] = async (key, body) => {
    writeFileSync(source, 'longer than before');
    await body.read({ from: 0, to: body.size });
    return { dataset: 'd', key, size: 6, version: info.version!, sites: [] };
  };
  const ran = await on({ put }, 'put', 'd', 'k', source);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /changed while it was read/);
});

test('get: the body alone on stdout; -v names the site; a file appears whole or not at all', async () => {
  assert.deepEqual(await plain(['get', 'd', 'k']), { code: 0, stdout: 'hello', stderr: '', json: [] });
  assert.match((await plain(['get', 'd', 'k', '-v'])).stderr, /k comes from a: it is the nearest/);
  const target = join(folder, 'out');
  assert.equal((await plain(['get', 'd', 'k', '-o', target, '--quiet'])).stderr, '');
  assert.equal(readFileSync(target, 'utf8'), 'hello');
  const broken: api.Dataset['get'] = async () => ({
    info,
    because: '',
    body: (async function* () {
      yield Buffer.from('half');
      throw new StoreFailure('unavailable', 'the connection broke');
    })(),
  });
  const ran = await on({ get: broken }, 'get', 'd', 'k', '-o', target);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /the connection broke\n {2}try again/);
  assert.equal(readFileSync(target, 'utf8'), 'hello');
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('.part')),
    [],
  );
  assert.equal((await plain(['get', 'd', 'k', '--json'])).code, 2);
});

test('an absent key: get, stat and explain end with 1, rm with 0', async () => {
  const absent: Partial<api.Dataset> = {
    get: async () => undefined,
    stat: async () => undefined,
    explain: async () => undefined,
    remove: async (key) => ({ dataset: 'd', key, removed: false, sites: [] }),
  };
  for (const command of ['get', 'stat', 'explain']) {
    const ran = await on(absent, command, 'd', 'k');
    assert.deepEqual([ran.code, ran.stdout], [1, ''], command);
    assert.match(ran.stderr, /there is no k in d/);
  }
  assert.deepEqual(await on(absent, 'rm', 'd', 'k'), {
    code: 0,
    stdout: '',
    stderr: 'there was no k\n',
    json: [],
  });
});

test('ls: escaped for people, as they are in JSON and with --null', async () => {
  assert.equal((await plain(['ls', 'd'])).stdout, 'a\nb\\nc\n');
  assert.equal((await plain(['ls', 'd', '-0'])).stdout, 'a\0b\nc\0');
  assert.match((await plain(['ls', 'd', '-l'])).stdout, /^ +5 {2}2023-11-14 22:13:20Z {2}a\n/);
  assert.deepEqual(
    (await plain(['ls', 'd', '--json'])).json.map((one) => one.key),
    ['a', 'b\nc'],
  );
  let asked: object = {};
  const list: api.Dataset['list'] = async function* (query) {
    asked = query;
    yield* [];
  };
  await on({ list }, 'ls', 'd', 'p/', '--site', 'b');
  assert.deepEqual(asked, { prefix: 'p/', site: 'b' });
});

test('sync: exit codes', async () => {
  const with_ = async (
    changes: Partial<api.SiteSync>,
    report: Partial<api.SyncReport> = {},
    ...flags: string[]
  ) => {
    const sync: api.Dataset['sync'] = async ({ dryRun }) => ({
      ...syncReport,
      dryRun,
      sites: [{ ...siteSync, ...changes }],
      ...report,
    });
    return (await on({ sync }, 'sync', 'd', ...flags)).code;
  };
  const nothing = { copiedKeys: 0, removedKeys: 0 };
  assert.equal(await with_({}), 0);
  assert.equal(await with_({ owedKeys: 1 }), 1);
  assert.equal(await with_({ reached: false, owedKeys: 1 }), 4);
  assert.equal(await with_({ guardedKeys: 1 }), 4);
  assert.equal(await with_({ parkedKeys: 1 }), 4);
  assert.equal(await with_({}, {}, '--dry-run'), 3);
  assert.equal(await with_({}, nothing, '--dry-run'), 0);
  assert.equal(await with_({ reached: false }, nothing, '--dry-run'), 4);
  assert.equal(await with_({ reached: false }, {}, '--dry-run'), 3);
});

test('sync: the plan and what is held back are told, the rest only without --quiet', async () => {
  const dry = await plain(['sync', 'd', '--dry-run']);
  assert.equal(dry.stdout, 'copy    b  k  (from a, 5 B: it is absent there) [held: no room]\n');
  assert.match(dry.stderr, /d: to copy 2 objects \(4.00 KiB\), to delete 1, 1 conflict, in 1.5 s/);
  const sync: api.Dataset['sync'] = async () => ({
    ...syncReport,
    sites: [{ ...siteSync, guardedKeys: 101 }],
  });
  const quiet = await on({ sync }, 'sync', 'd', '--quiet');
  assert.match(
    quiet.stderr,
    /^a: 101 deletions held back by guards.maxDeletes; if they are meant: `isobar sync d --yes`\n$/,
  );
});

test('verify: exit codes, with 5 before 3 before 4', async () => {
  const difference = (kind: api.Difference['kind'], repaired = false): api.Difference => ({
    dataset: 'd',
    key: 'k',
    site: 'b',
    kind,
    detail: 'x',
    repaired,
  });
  const code = async (found: api.Difference[], reached = true) => {
    const verify: api.Dataset['verify'] = async (options) => {
      found.forEach(options.difference);
      return { ...verifyReport, sites: [{ site: 'a', reached, keys: 0, bytes: 0 }] };
    };
    return (await on({ verify }, 'verify', 'd')).code;
  };
  assert.equal(await code([]), 0);
  assert.equal(await code([difference('missing')]), 3);
  assert.equal(await code([difference('extra')]), 3);
  assert.equal(await code([difference('differs'), difference('missing')], false), 5);
  assert.equal(await code([difference('missing')], false), 3);
  assert.equal(await code([difference('unreadable')]), 4);
  assert.equal(await code([], false), 4);
  assert.equal(await code([difference('differs', true), difference('missing', true)]), 0);
  const ran = await plain(['verify', 'd']);
  assert.match(
    ran.stdout,
    /^missing {5}b {2}k {2}\(absent\)\nd: 12,345 keys compared by content in 0.9 s: 1 missing/,
  );
});

test('status: lag that nobody has measured is never zero', async () => {
  const { stdout, code } = await plain(['status']);
  assert.equal(code, 0);
  assert.match(stdout, /a {4} *healthy +1.2 s +7 keys +8.00 KiB +100 B\/s +1 +30 s ago/);
  assert.match(stdout, /b {4} *unknown +unknown +0 keys/);
  assert.match(stdout, /a: 1 min 0 s ago: away/);
});

test('status --watch goes on until Ctrl-C, and ends with 130', async () => {
  const stop = new AbortController();
  let asked = 0;
  const status: api.Dataset['status'] = async (signal) => {
    asked += 1;
    if (asked === 2) stop.abort(new Interrupted('SIGINT'));
    return (await fakeIsobar().dataset('d')).status(signal);
  };
  const ran = await plain(['status', '--watch', '--every', '0.1'], {
    signal: stop.signal,
    isobar: fakeIsobar({ status }),
  });
  assert.deepEqual([ran.code, asked], [130, 2]);
});

test('explain names what is pending and parked', async () => {
  const { stdout } = await plain(['explain', 'd', 'k']);
  assert.match(
    stdout,
    /b: absent\n {4}the last copy failed\n {4}pending since .*, tried 2 times, next .*\n {4}last failure: away\n {4}parked: too large/,
  );
  assert.match(stdout, /lost a conflict: 3 B/);
});

test('parked: ls, retry and drop', async () => {
  assert.match((await plain(['parked', 'ls'])).stdout, /^d {2}a\/k {2}invalid: metadata over the limit/);
  assert.equal((await plain(['parked', 'retry', 'd'])).code, 2);
  assert.equal((await plain(['parked', 'retry', 'd', 'a/k', '--all'])).code, 2);
  assert.equal((await plain(['parked', 'retry', 'd', '--all'])).code, 0);
  assert.equal((await plain(['parked', 'drop', 'd', 'a/k'])).code, 2, 'without a terminal it asks for --yes');
  assert.equal((await plain(['parked', 'drop', 'd', 'a/k', '--yes'])).code, 0);
  const unknown: api.Dataset['dropParked'] = async (ids) => ({ dataset: 'd', done: [], unknown: ids });
  const ran = await on({ dropParked: unknown }, 'parked', 'drop', 'd', 'x', '--yes');
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /nothing is parked as x/);
  const none: api.Dataset['parked'] = async function* () {};
  assert.equal((await on({ parked: none }, 'parked', 'ls')).stderr, 'nothing is parked\n');
  assert.equal(parkedChange.id, 'a/k');
});

test('doctor: a failed check ends with 1, a warning does not', async () => {
  const warned = await plain(['doctor']);
  assert.equal(warned.code, 0);
  assert.match(warned.stdout, /warning {2}b {2}write: slow\n {9}nothing to do/);
  const doctor: api.Isobar['doctor'] = async (_, report) =>
    report({ site: 'a', check: 'list', status: 'failed', detail: '403' });
  assert.equal((await plain(['doctor', 'a'], { isobar: fakeIsobar({}, { doctor }) })).code, 1);
});

test('run: SIGTERM is its ordinary end, Ctrl-C is 130, a failure is 1', async () => {
  const until = (signal: 'SIGTERM' | 'SIGINT') => {
    const stop = new AbortController();
    const run: api.Isobar['run'] = async (_, aborted) => {
      stop.abort(new Interrupted(signal));
      aborted.throwIfAborted();
    };
    return plain(['run'], { signal: stop.signal, isobar: fakeIsobar({}, { run }) });
  };
  assert.equal((await until('SIGTERM')).code, 0);
  assert.equal((await until('SIGINT')).code, 130);
  const run: api.Isobar['run'] = async () => {
    throw Object.assign(new Error('listen'), { code: 'EADDRINUSE', syscall: 'listen' });
  };
  const ran = await plain(['run'], { isobar: fakeIsobar({}, { run }) });
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /already in use\n {2}is another `isobar run` up/);
});

test('unknown datasets and sites, and impossible keys, end with 2 before anything is opened', async () => {
  const never = (...argv: string[]) => cli(['--config', file, ...argv]);
  for (const argv of [
    ['sync', 'x'],
    ['ls', 'd', '--site', 'c'],
    ['get', 'nods', 'k'],
    ['status', 'x'],
    ['doctor', 'c'],
    ['run', 'x'],
    ['put', 'd', ''],
    ['put', 'd', 'x'.repeat(1025)],
    ['rm', 'd', '.isobar/x'],
    ['stat', 'd', '.isobar'],
  ]) {
    const ran = await never(...argv);
    assert.deepEqual([ran.code, ran.stdout], [2, ''], argv.join(' '));
    assert.match(ran.stderr, /there is no|cannot be a key/);
  }
  assert.equal((await plain(['put', 'd', 'x'.repeat(1024)])).code, 0);
});

test('failures say what and what to do; the stack only with --verbose', async () => {
  const failing = (failure: Error): Partial<api.Dataset> => ({ sync: async () => Promise.reject(failure) });
  const denied = await on(failing(new StoreFailure('denied', 'a refused the listing (403)')), 'sync', 'd');
  assert.deepEqual(denied.stderr.split('\n').slice(0, 1), ['isobar: a refused the listing (403)']);
  assert.match(denied.stderr, /isobar doctor/);
  assert.doesNotMatch(denied.stderr, /at .*\.ts/);
  const full = await on(failing(new StateFailure('full', 'no space for the ledger')), 'sync', 'd');
  assert.match(full.stderr, /make room/);
  const defect = await on(
    failing(new TypeError('x is undefined', { cause: new Error('deeper') })),
    'sync',
    'd',
    '-v',
  );
  assert.equal(defect.code, 1);
  assert.match(
    defect.stderr,
    /unexpected failure: x is undefined\n {2}this is a defect[\s\S]*TypeError: x is undefined\n +at [\s\S]*caused by Error: deeper/,
  );
  const json = await on(failing(new StoreFailure('full', 'no room')), '--json', 'sync', 'd');
  assert.deepEqual(JSON.parse(json.stderr), {
    type: 'error',
    message: 'no room',
    hint: 'make room at the site, or raise its quota',
    exitCode: 1,
  });
});

test('global flags stand before or after the command', async () => {
  for (const argv of [
    ['--config', file, '--json', 'ls', 'd'],
    ['ls', 'd', '--json', '--config', file],
    ['ls', '--json', 'd', '-c', file],
  ]) {
    assert.equal((await cli(argv, { isobar: fakeIsobar() })).json.length, 2, argv.join(' '));
  }
  assert.equal((await cli(['parked', '--json', 'ls', '-c', file], { isobar: fakeIsobar() })).json.length, 1);
});

test('mistyped commands and flags end with 2 and a suggestion; help and version with 0', async () => {
  for (const [argv, meant] of [
    [['snyc'], 'sync'],
    [['sync', 'd', '--dryrun'], '--dry-run'],
    [['parked', 'list'], 'ls'],
    [['--jsn', 'ls', 'd'], '--json'],
  ] as const) {
    const ran = await cli(argv);
    assert.deepEqual([ran.code, ran.stdout], [2, ''], argv.join(' '));
    assert.match(ran.stderr, new RegExp(meant), argv.join(' '));
  }
  for (const argv of [
    [],
    ['sync'],
    ['ls', 'd', 'p', 'more'],
    ['status', '--every', 'x'],
    ['completion', 'tcsh'],
  ]) {
    assert.equal((await cli(argv)).code, 2, argv.join(' '));
  }
  assert.equal((await cli(['--help'])).code, 0);
  assert.match((await cli(['sync', '--help'])).stdout, /Examples:[\s\S]*--dry-run/);
  assert.match((await cli(['--version'])).stdout, /^\d+\.\d+\.\d+/);
});

test('colour only on a terminal, and never with NO_COLOR', async () => {
  const colored = (text: string) => text.includes('\u001b[32mok');
  assert.ok(colored((await plain(['doctor'], { terminal: true })).stdout));
  assert.ok(!colored((await plain(['doctor'], { terminal: true, env: { NO_COLOR: '1' } })).stdout));
  assert.ok(!colored((await plain(['doctor'])).stdout));
});

test('secrets that reach a message or a report are masked, keys are not', async () => {
  const secret = 'S3cretValue99';
  const source = join(folder, 'secret.yaml');
  writeFileSync(
    source,
    `sites:\n  a: { kind: s3, bucket: x, region: r, accessKeyId: k, secretAccessKey: ${secret} }\n  b: { kind: filesystem, path: b }\ndatasets: { d: { sites: [a, b] } }\n`,
  );
  const changes: Partial<api.Dataset> = {
    sync: async () => ({
      ...syncReport,
      sites: [{ ...siteSync, reached: false, error: `403 for ${secret}` }],
    }),
    list: async function* () {
      yield { dataset: 'd', key: `dir/sig=abc?AccountKey=${secret}`, size: 1, modifiedMs: 0, site: 'a' };
    },
    stat: async () => Promise.reject(new Error(`boom ${secret}`)),
  };
  const run = (...argv: string[]) => cli(['-c', source, ...argv], { isobar: fakeIsobar(changes) });
  for (const ran of [
    await run('sync', 'd'),
    await run('sync', 'd', '--json'),
    await run('stat', 'd', 'k', '-v'),
    await run('config', 'show'),
    await run('config', 'show', '--json'),
  ]) {
    assert.doesNotMatch(ran.stdout + ran.stderr, new RegExp(secret));
  }
  assert.equal((await run('ls', 'd')).stdout, `dir/sig=abc?AccountKey=${secret}\n`);
  assert.equal((await run('ls', 'd', '--json')).json[0]?.key, `dir/sig=abc?AccountKey=${secret}`);
});

test('ledger rebuild: what was read where; a site that was away is said, and ends with 4', async () => {
  const seen: boolean[] = [];
  const rebuild: api.Dataset['rebuild'] = async (options, signal) => {
    seen.push(options.dryRun);
    return (await fakeIsobar().dataset('d')).rebuild(options, signal);
  };
  const ran = await on({ rebuild }, 'ledger', 'rebuild', 'd', '--dry-run');
  assert.deepEqual([ran.code, ran.stdout], [4, '']);
  assert.match(ran.stderr, /found 2 keys[\s\S]*a: 2 keys, 1 tombstone, 0 losers[\s\S]*b was away: away/);
  const all: api.Dataset['rebuild'] = async (options, signal) => {
    const report = await rebuild(options, signal);
    return { ...report, sites: report.sites.slice(0, 1) };
  };
  assert.equal((await on({ rebuild: all }, 'ledger', 'rebuild', 'd')).code, 0);
  assert.deepEqual(seen, [true, false]);
  assert.equal((await on({}, 'ledger', 'rebuild')).code, 2);
});
