// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax under test
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { type Config, loadConfig, parseConfig, siteOf, toPolicy } from './load.ts';
import { ConfigFailure, type Problem } from './problems.ts';
import { redact } from './secret.ts';

const folder = mkdtempSync(join(tmpdir(), 'isobar-config-'));
const file = join(folder, 'isobar.yaml');
after(() => rmSync(folder, { recursive: true }));

function parse(source: string, variables: Record<string, string> = {}): Config {
  return parseConfig(source, file, variables);
}

function problemsOf(source: string, variables: Record<string, string> = {}): readonly Problem[] {
  try {
    parse(source, variables);
  } catch (error) {
    if (error instanceof ConfigFailure) return error.problems;
    throw error;
  }
  return [];
}

/** `line:column message` of each problem. */
function brief(source: string, variables: Record<string, string> = {}): string[] {
  return problemsOf(source, variables).map((one) => `${one.line}:${one.column} ${one.message}`);
}

const two = 'sites:\n  a: { kind: filesystem, path: a }\n  b: { kind: filesystem, path: b }\n';
const whole = `${two}datasets:\n  d: { sites: [a, b] }\n`;

/** A file whose two sites are as given. */
function withSites(a: string, b: string): string {
  return `sites:\n  a: { ${a} }\n  b: { ${b} }\ndatasets:\n  d: { sites: [a, b] }\n`;
}

const ordinary = {
  match: '**',
  windowMs: 600_000,
  deletes: { keys: 1000, share: 0.25, sigma: 3 },
  overwrites: { keys: 1000, share: 0.25, sigma: 3 },
  entropy: { keys: 20, share: 0.5 },
  renames: { keys: 20 },
};

test('the smallest file gets every default', () => {
  const config = parse(whole);
  assert.deepEqual(toPolicy(config, 'd'), {
    dataset: 'd',
    sites: ['a', 'b'],
    write: { kind: 'async' },
    reads: 'nearest',
    conflicts: 'last-writer-wins',
    guards: { maxDeletes: { keys: 100, share: 0.05 }, damage: [ordinary] },
    deletions: { retentionMs: 30 * 86_400_000 },
  });
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 9464 });
  assert.equal(config.datasets.d?.scan.everyMs, 300_000);
  assert.equal(config.state, join(folder, '.isobar-state'));
  assert.deepEqual(config.log, { level: 'info', format: 'auto' });
  assert.deepEqual(config.sites.a?.limits, { concurrency: 64 });
});

test('paths are relative to the file', () => {
  const config = parse(
    `${withSites('kind: filesystem, path: ../x', 'kind: gcs, bucket: b, keyFile: k/key.json')}state: s\n`,
  );
  assert.equal((config.sites.a as { path: string }).path, join(folder, '..', 'x'));
  assert.equal((config.sites.b as { keyFile: string }).keyFile, join(folder, 'k', 'key.json'));
  assert.equal(config.state, join(folder, 's'));
});

test('write modes and delete limits in all their spellings', () => {
  const policy = (fields: string) =>
    toPolicy(parse(`${two}datasets: { d: { sites: [a, b], ${fields} } }`), 'd');
  assert.deepEqual(policy('write: async').write, { kind: 'async' });
  assert.deepEqual(policy('write: { sync: {} }').write, { kind: 'sync', acks: 'majority' });
  assert.deepEqual(policy('write: { sync: { acks: 2 } }').write, { kind: 'sync', acks: 2 });
  assert.deepEqual(policy('guards: { maxDeletes: 0 }').guards.maxDeletes, { keys: 0, share: 0 });
  assert.deepEqual(policy('guards: { maxDeletes: 5% }').guards.maxDeletes, { keys: 0, share: 0.05 });
  assert.deepEqual(policy('guards: { maxDeletes: { keys: 7 } }').guards.maxDeletes, { keys: 7, share: 0 });
});

test('deletions are remembered for an hour at least', () => {
  const retention = (text: string) =>
    toPolicy(parse(`${two}datasets: { d: { sites: [a, b], deletions: { retention: ${text} } } }`), 'd')
      .deletions;
  assert.deepEqual(retention('1h'), { retentionMs: 3_600_000 });
  assert.throws(() => retention('59m'), /must be at least 1h/);
});

test('damage rules: one for all keys, others, parts of them off, or none', () => {
  const damage = (text: string) =>
    toPolicy(parse(`${two}datasets: { d: { sites: [a, b], guards: { damage: ${text} } } }`), 'd').guards
      .damage;
  assert.deepEqual(damage('[]'), []);
  assert.deepEqual(damage('[{}]'), [ordinary]);
  const [rule, other] = damage(
    '[{ match: "eu/**", window: 1h, deletes: { keys: 5, percent: 0, sigma: 0 }, overwrites: off, entropy: off, renames: off }, { renames: { keys: 7 } }]',
  )!;
  assert.deepEqual(rule, { match: 'eu/**', windowMs: 3_600_000, deletes: { keys: 5, share: 0, sigma: 0 } });
  assert.deepEqual(other, { ...ordinary, renames: { keys: 7 } });
  for (const [text, message] of [
    ['[{ window: 10s }]', /between 1m and 1d/],
    ['[{ match: "a{" }]', /does not close a brace/],
    ['[{}, { match: "**" }]', /two rules have the same/],
    ['[{ deletes: { keys: 0 } }]', /damage/],
    ['[{ deletes: { key: 1 } }]', /key/],
  ] as const)
    assert.throws(() => damage(text), message, text);
});

test('s3: region and path style follow from the endpoint', () => {
  const settled = (fields: string) => {
    const site = siteOf(parse(withSites(`kind: s3, bucket: x, ${fields}`, 'kind: filesystem, path: b')), 'a');
    return site.kind === 's3' ? [site.region, site.pathStyle] : [];
  };
  assert.deepEqual(settled('region: eu-west-1'), ['eu-west-1', false]);
  assert.deepEqual(settled('endpoint: "http://127.0.0.1:9000"'), ['us-east-1', true]);
  assert.deepEqual(settled('endpoint: "https://s3.eu-west-1.amazonaws.com", region: eu-west-1'), [
    'eu-west-1',
    false,
  ]);
  assert.deepEqual(settled('endpoint: "http://x", pathStyle: false'), ['us-east-1', false]);
});

test('every mistake is reported at once, at its place, with what was meant', () => {
  const source = [
    'sites:',
    '  aws: { kind: s3, bukcet: photos, region: eu-central-1 }',
    '  gcp: { kind: gcz, bucket: photos }',
    '  dir: { kind: filesystem, path: 12 }',
    '  Dir: { kind: filesystem, path: x }',
    'datasets:',
    '  photos:',
    '    sites: [aws, gpc, dir]',
    '    scan: { every: 5 }',
    'listne: 4',
  ].join('\n');
  const found = problemsOf(source);
  assert.deepEqual(
    found.map((one) => [`${one.line}:${one.column}`, one.message, one.hint]),
    [
      ['2:20', 'unknown field `bukcet` in `sites.aws`', 'did you mean `bucket`?'],
      ['3:16', '`sites.gcp.kind` must be one of `s3`, `gcs`, `azure`, `filesystem`', 'did you mean `gcs`?'],
      ['4:34', '`sites.dir.path` must be text, not a number', 'put it in quotes'],
      [
        '5:3',
        '`Dir` cannot be a name here: a name begins with a lower-case letter and has up to 32 of a-z, 0-9 and -',
        undefined,
      ],
      ['8:18', 'there is no site `gpc`', 'did you mean `gcp`? the sites are aws, gcp, dir, Dir'],
      [
        '9:20',
        '`datasets.photos.scan.every` must be a duration, a whole number and a unit: 500ms, 30s, 5m, 2h or 1d',
        undefined,
      ],
      ['10:1', 'unknown field `listne` at the top of the file', 'did you mean `listen`?'],
    ],
  );
  assert.equal(
    found[0]?.snippet,
    '  2 |   aws: { kind: s3, bukcet: photos, region: eu-central-1 }\n                         ^',
  );
});

test('what is missing is said where it should stand', () => {
  assert.deepEqual(brief('sites:\n  a: { kind: s3, region: x }\n  b: { kind: azure, container: c }\n'), [
    '1:1 the file needs `datasets`',
    '2:3 `sites.a` needs `bucket`',
    '3:3 `sites.b` needs `account`, `endpoint` or `connectionString`',
  ]);
  assert.deepEqual(brief('sites: {}\ndatasets:\n'), [
    '1:8 `sites` needs at least one site',
    '2:1 `datasets` has no value',
  ]);
  assert.match(problemsOf('')[0]?.message ?? '', /empty/);
  assert.match(problemsOf('# only a comment\n')[0]?.message ?? '', /empty/);
  assert.match(brief('just text')[0] ?? '', /^1:1 the file must be a map of fields, not text$/);
});

test('YAML that is none', () => {
  const broken = problemsOf('sites:\n  a: [1,\n\tb: {');
  assert.ok(broken.length > 0);
  assert.ok(broken.every((one) => one.message.startsWith('not valid YAML') && one.line !== undefined));
  assert.deepEqual(brief(`${whole}state: x\nstate: y\n`), ['7:1 this name stands twice in the same map']);
  assert.match(brief(`${whole}---\nb: 1\n`)[0] ?? '', /more than one YAML document/);
  assert.match(brief(whole.replace('path: a', 'path: !secret a'))[0] ?? '', /^2:\d+ .*[Uu]nresolved tag/);
  assert.match(brief('a: &x\n  b: *x\n').join('\n'), /unknown field `a`/);
  assert.ok(brief(`${whole}__proto__: 1\n`).some((one) => one.includes('cannot be a name')));
  const taken = brief('sites:\n  constructor: { kind: filesystem, path: a }\n').join('\n');
  assert.match(taken, /`constructor` cannot be a name here: this one name is taken/);
});

test('an alias stands for its value, and its mistakes are found', () => {
  const source = `sites:\n  a: &a { kind: filesystem, path: a }\n  b: { kind: filesystem, path: b }\ndatasets:\n  d: { sites: &s [a, b] }\n`;
  assert.deepEqual(parse(source).datasets.d?.sites, ['a', 'b']);
  assert.match(
    brief(source.replace('{ kind: filesystem, path: b }', '*a')).join(),
    /3:3 the sites `a` and `b` are the same folder/,
  );
});

test('variables: set, default, empty, missing, broken, and the dollar itself', () => {
  const path = (text: string, variables: Record<string, string> = {}) =>
    (
      parse(
        whole.replace('path: a', () => `path: ${text}`),
        variables,
      ).sites.a as { path: string }
    ).path;
  assert.equal(path('"/x/${V}"', { V: 'v' }), '/x/v');
  assert.equal(path('"/x/${V:-w}"'), '/x/w');
  assert.equal(path('"/x/${V:-w}"', { V: '' }), '/x/w');
  assert.equal(path('"/x/$${V}$$$1"'), '/x/${V}$$1');
  assert.equal(path('"${V}"', { V: '/x: {y}\n# "${W}' }), '/x: {y}\n# "${W}');
  const unset = problemsOf(whole.replace('path: a', 'path: "/x/${MY_PTH}"'), { MY_PATH: '' });
  assert.equal(unset.length, 1, 'an unset variable has no further consequences');
  assert.equal(unset[0]?.message, 'the environment variable MY_PTH is not set');
  assert.equal(unset[0]?.column, 36);
  assert.match(unset[0]?.hint ?? '', /did you mean `MY_PATH`/);
  assert.match(
    brief(whole.replace('path: a', 'path: "${MY-PATH}"'))[0] ?? '',
    /not a reference to a variable/,
  );
  assert.match(brief(whole.replace('path: a', 'path: "${MY"'))[0] ?? '', /not a reference to a variable/);
});

test('a variable may stand for a number or a boolean', () => {
  const source = withSites(
    'kind: gcs, bucket: "${B}", anonymous: "${A}", limits: { concurrency: "${N}" }',
    'kind: filesystem, path: b',
  );
  const site = siteOf(parse(source, { A: 'true', N: '8', B: '123' }), 'a');
  assert.ok(site.kind === 'gcs' && site.anonymous && site.limits.concurrency === 8 && site.bucket === '123');
  assert.match(
    brief(source, { A: 'maybe', N: '8', B: 'b' })[0] ?? '',
    /`sites.a.anonymous` must be `true` or `false`, not text \(its value comes from A\)/,
  );
});

test('what is planned is refused as not available yet', () => {
  for (const field of ['topology: { active: a }', 'consistency: strong', 'topology: active-passive']) {
    assert.match(
      brief(`${two}datasets: { d: { sites: [a, b], ${field} } }`)[0] ?? '',
      /is not available yet; for now it must be/,
      field,
    );
  }
  assert.match(brief(`${whole}bus: { kind: kafka }\n`)[0] ?? '', /not available yet/);
  assert.match(brief(`${whole}ledger: { kind: postgres }\n`)[0] ?? '', /not available yet/);
});

test('datasets that cannot work', () => {
  const dataset = (fields: string) => brief(`${two}datasets: { d: { ${fields} } }`);
  assert.match(dataset('sites: [a]')[0] ?? '', /has 1 site; to replicate it needs at least two/);
  assert.match(dataset('sites: [a, b, a]')[0] ?? '', /`a` stands twice/);
  assert.match(
    dataset('sites: [a, b], write: { sync: { acks: 3 } }')[0] ?? '',
    /acks` is 3, but the dataset has 2 sites/,
  );
  assert.match(
    dataset('sites: [a, b], write: { sync: { acks: some } }')[0] ?? '',
    /must be `majority`, `all` or a number/,
  );
  assert.match(dataset('sites: [a, b], write: sync')[0] ?? '', /must be `async` or `{ sync/);
  assert.match(dataset('sites: [a, b], guards: { maxDeletes: some }')[0] ?? '', /must be a number of keys/);
  assert.match(
    brief(`${two}datasets:\n  d: { sites: [a, b] }\n  e: { sites: [b, a] }\n`).join('\n'),
    /6:16 the site `b` already belongs to the dataset `d`/,
  );
});

test('the same place twice, however it is spelt', () => {
  mkdirSync(join(folder, 'real', 'inner'), { recursive: true });
  mkdirSync(join(folder, 'deep', 'deeper'), { recursive: true });
  symlinkSync(join(folder, 'real'), join(folder, 'link'));
  symlinkSync(join(folder, 'deep', 'deeper'), join(folder, 'linkToDeeper'));
  const folderOf = (path: string, prefix = '') => `kind: filesystem, path: "${path}", prefix: "${prefix}"`;
  const s3 = (fields: string) => `kind: s3, bucket: x, region: eu-west-1, ${fields}`;
  const azure = (fields: string) => `kind: azure, container: c, ${fields}`;
  const same: [string, string][] = [
    [folderOf('real'), folderOf('./other/../real/')],
    [folderOf('real'), folderOf(join(folder, 'link'))],
    [folderOf('real'), folderOf('link/inner')],
    [folderOf('link/inner/new'), folderOf('real')],
    [folderOf('deep'), folderOf('linkToDeeper')],
    [folderOf('real', 'inner/'), folderOf('real/inner')],
    [s3(''), s3('endpoint: "https://s3.eu-west-1.amazonaws.com"')],
    [s3('prefix: a/'), s3('prefix: a/b/')],
    [s3('endpoint: "http://localhost:9000"'), s3('endpoint: "http://127.0.0.1:9000/"')],
    [s3('endpoint: "https://S3.example.com"'), s3('endpoint: "https://s3.example.com:443"')],
    [s3('endpoint: "https://storage.googleapis.com"'), 'kind: gcs, bucket: x'],
    [azure('account: abc'), azure('connectionString: "AccountName=abc;AccountKey=c2VjcmV0"')],
    [azure('account: abc'), azure('endpoint: "https://abc.blob.core.windows.net", sas: "sv=1&sig=x"')],
    [
      azure('connectionString: "UseDevelopmentStorage=true"'),
      azure('account: devstoreaccount1, endpoint: "http://localhost:10000/devstoreaccount1"'),
    ],
  ];
  for (const [a, b] of same)
    assert.match(brief(withSites(a, b)).join('\n'), /3:3 the sites `a` and `b` are the same/, `${a} | ${b}`);
  const different: [string, string][] = [
    [folderOf('real', 'inner/'), folderOf('real', 'other/')],
    [folderOf('real', 'x/'), folderOf('real/inner')],
    [folderOf('real/a'), folderOf('real/ab')],
    [s3('prefix: a/'), s3('prefix: ab/')],
    [s3('endpoint: "http://localhost:9000"'), s3('endpoint: "http://localhost:9001"')],
    [azure('account: abc'), azure('account: abd')],
  ];
  for (const [a, b] of different) assert.deepEqual(brief(withSites(a, b)), [], `${a} | ${b}`);
});

test('the state folder must not be replicated', () => {
  const here = withSites('kind: filesystem, path: .', 'kind: gcs, bucket: b');
  assert.match(brief(here)[0] ?? '', /the state folder lies in the folder of the site `a`/);
  assert.match(brief(`${here}state: sub/state\n`)[0] ?? '', /^6:8 the state folder lies/);
  assert.deepEqual(brief(`${here}state: ../elsewhere\n`), []);
});

test('credentials that do not belong together', () => {
  const of = (fields: string) => brief(withSites(fields, 'kind: filesystem, path: b'))[0] ?? '';
  assert.match(of('kind: s3, bucket: b'), /needs `region` at Amazon/);
  assert.match(of('kind: s3, bucket: b, region: r, accessKeyId: k'), /needs `secretAccessKey`/);
  assert.match(of('kind: s3, bucket: b, region: r, secretAccessKey: k'), /needs `accessKeyId`/);
  assert.match(of('kind: gcs, bucket: b, anonymous: true, keyFile: k'), /no use with `anonymous/);
  assert.match(
    of('kind: azure, container: c, connectionString: "AccountName=a", sas: s'),
    /already in `connectionString`/,
  );
  assert.match(of('kind: azure, container: c, account: abc, accountKey: k, sas: s'), /exclude each other/);
  assert.match(of('kind: s3, bucket: b, endpoint: "https://u:p@host"'), /must not hold credentials/);
  assert.match(of('kind: s3, bucket: b, endpoint: "localhost:9000"'), /must be a URL/);
  assert.match(of('kind: s3, bucket: "s3://b/x", region: r'), /is the name alone/);
  assert.match(of('kind: filesystem, path: ~/x'), /"~" is not expanded/);
});

test('prefixes', () => {
  const of = (prefix: string) =>
    brief(withSites(`kind: gcs, bucket: b, prefix: "${prefix}"`, 'kind: filesystem, path: b'));
  for (const bad of ['a', '/a/', 'a//b/', '../', 'a/./', '.isobar/', '.isobar/x/', 'é'.repeat(300)])
    assert.equal(of(bad).length, 1, bad);
  for (const good of ['', 'a/', 'a/b c/', '.isobar2/']) assert.deepEqual(of(good), [], good);
});

test('push sources', () => {
  const sites = withSites('kind: s3, bucket: b, region: r', 'kind: filesystem, path: b');
  const of = (sources: string) => brief(`${sites}sources: { ${sources} }\n`);
  const config = parse(`${sites}sources: { a: { kind: s3-webhook, secret: "pushpush1" } }\n`);
  assert.deepEqual(config.sources.a?.listen, { host: '127.0.0.1', port: 9465 });
  assert.match(of('c: { kind: s3-webhook }')[0] ?? '', /there is no site `c`/);
  assert.match(of('b: { kind: s3-webhook }')[0] ?? '', /notifications of an s3 site, but `b` is filesystem/);
  assert.match(of('a: { kind: s3-webhook, listen: "127.0.0.1:9464" }')[0] ?? '', /`listen` already uses/);
  assert.match(of('a: { kind: s3-webhook, listen: "1.2.3.4:99999" }')[0] ?? '', /at most 65535/);
});

test('unknown datasets and sites are named with what there is', () => {
  const config = parse(whole);
  assert.throws(
    () => toPolicy(config, 'dd'),
    /there is no dataset `dd`\n {2}did you mean `d`\? the datasets are d/,
  );
  assert.throws(() => siteOf(config, 'c', 'd'), /there is no site `c` in the dataset `d`/);
  assert.throws(() => toPolicy(config, 'toString'), ConfigFailure);
});

test('files that cannot be read', () => {
  assert.throws(
    () => loadConfig(join(folder, 'none.yaml'), {}),
    /none.yaml: there is no such file\n.*isobar init/,
  );
  assert.throws(() => loadConfig(folder, {}), /this is a folder/);
  writeFileSync(join(folder, 'latin1.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  assert.throws(() => loadConfig(join(folder, 'latin1.yaml'), {}), /not UTF-8/);
  writeFileSync(file, `\ufeff${whole.replaceAll('\n', '\r\n')}`);
  assert.equal(loadConfig(file, {}).file, file);
});

const hidden = 'Zm9vYmFyK3NlY3JldC8xMjM0';

test('secrets show nowhere', () => {
  const config = parse(
    withSites(
      'kind: s3, bucket: b, region: r, accessKeyId: AKIA1, secretAccessKey: "${KEY}"',
      `kind: azure, container: c, connectionString: "AccountName=abc;AccountKey=${hidden};EndpointSuffix=x"`,
    ),
    { KEY: 'p@ss word+1' },
  );
  for (const text of [
    inspect(config, { depth: 9, showHidden: true }),
    JSON.stringify(config),
    `${config.sites.a?.kind}`,
  ]) {
    assert.doesNotMatch(text, /p@ss|Zm9vYmFy/);
  }
  const site = config.sites.a;
  assert.equal(site?.kind === 's3' && site.secretAccessKey?.reveal(), 'p@ss word+1');
  assert.equal(`${site?.kind === 's3' && site.secretAccessKey}`, '[secret]');
  const told = `"p@ss word+1" p%40ss%20word%2B1 ${hidden} AccountKey=other; https://x/?sig=abc%2B&y=1 https://me:pass@host/`;
  assert.equal(
    redact(told),
    '"[secret]" [secret] [secret] AccountKey=[secret]; https://x/?sig=[secret]&y=1 https://me:[secret]@host/',
  );
});

test('no mistake shows a secret that stands in the file', () => {
  const secret = 'hunter2hunter2';
  const files = [
    withSites(`kind: s3, bucket: b, region: r, secretAccesKey: ${secret}`, 'kind: filesystem, path: b'),
    withSites(
      `kind: s3, bucket: b, region: r, accessKeyId: x, secretAccessKey: "${secret}", z: 1`,
      'kind: x',
    ),
    `sites:\n  a:\n    kind: s3\n    secretAccessKey:\n      value: ${secret}\n`,
    `sites:\n  a:\n    kind: azure\n    connectionString: AccountName=a;AccountKey=${secret}; "x\n   bad\n`,
    `sites:\n  a: { kind: azure, container: c, endpoint: "https://x:${secret}@y" }\n`,
    `sites:\n  a: { kind: azure, container: c, connectionString: [ "AccountKey=${secret}" ] }\n`,
    `sites:\n  a: { kind: azure, accountKey: '${secret}', accountKey: ${secret} }\n`,
    withSites(
      `kind: azure, container: c, sas: "sv=1&sig=${secret}", accountKey: ${secret}, account: abc`,
      'kind: x',
    ),
  ];
  for (const source of files) {
    const problems = problemsOf(source);
    assert.ok(problems.length > 0, source);
    const failure = new ConfigFailure(file, problems);
    assert.doesNotMatch(inspect(failure), /hunter2/, source);
  }
});
