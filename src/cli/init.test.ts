// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is what is written
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseConfig } from '../config/load.ts';
import { parseSite, renderConfig } from './init-file.ts';
import { cli } from './kit.test.ts';

const folder = mkdtempSync(join(tmpdir(), 'isobar-init-'));
after(() => rmSync(folder, { recursive: true }));

test('from flags: the file is commented, valid and says what was asked', async () => {
  const file = join(folder, 'one.yaml');
  const sites = [
    'aws=s3:photos,region=eu-central-1,prefix=team a/',
    'gcp=gcs:photos-gcp,anonymous=true,limits.concurrency=8',
    'azure=azure:photos,connectionString=${AZ}',
    'local=filesystem:./x y',
  ];
  const ran = await cli([
    'init',
    '-c',
    file,
    '--dataset',
    'photos',
    ...sites.flatMap((site) => ['--site', site]),
  ]);
  assert.deepEqual([ran.code, ran.stdout], [0, '']);
  const text = readFileSync(file, 'utf8');
  assert.match(text, /^# /);
  const config = parseConfig(text, file, { AZ: 'AccountName=abc;AccountKey=verysecret1' });
  assert.deepEqual(config.datasets.photos?.sites, ['aws', 'gcp', 'azure', 'local']);
  assert.equal(config.sites.aws?.prefix, 'team a/');
  assert.deepEqual(config.sites.gcp?.limits, { concurrency: 8 });
  assert.equal(config.sites.local?.kind === 'filesystem' && config.sites.local.path, join(folder, 'x y'));
});

test('an existing file is overwritten only with --force', async () => {
  const file = join(folder, 'two.yaml');
  const init = (...more: string[]) =>
    cli(['init', '-c', file, '--json', '--site', 'a=filesystem:a', '--site', 'b=filesystem:b', ...more]);
  assert.equal((await init()).code, 0);
  const before = readFileSync(file, 'utf8');
  const again = await init('--dataset', 'other');
  assert.equal(again.code, 2);
  assert.match(again.stderr, /already there.*--force/s);
  assert.equal(readFileSync(file, 'utf8'), before);
  assert.deepEqual((await init('--dataset', 'other', '--force')).json, [
    { type: 'init', file, dataset: 'other', sites: ['a', 'b'] },
  ]);
});

test('what would not be valid is not written', async () => {
  const file = join(folder, 'three.yaml');
  for (const sites of [
    ['a=filesystem:a'],
    ['a=filesystem:a', 'b=filesystem:./a'],
    ['a=s3:x', 'b=filesystem:b'],
    ['A=gcs:x', 'b=gcs:y'],
    ['a=ftp:x'],
    ['a'],
    ['a=gcs:x,y'],
  ]) {
    const ran = await cli(['init', '-c', file, ...sites.flatMap((site) => ['--site', site])]);
    assert.equal(ran.code, 2, sites.join(' '));
    assert.ok(!existsSync(file));
  }
  const none = await cli(['init', '-c', file]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /no terminal to ask.*--site/s);
});

test('values that YAML would read as something else stand in quotes', () => {
  for (const value of [
    'null',
    'yes',
    '1e3',
    '0x10',
    '123456',
    'a: b',
    '# no',
    '*x',
    '"',
    '-',
    '1.5',
    '~x',
    'a\tb',
  ]) {
    const text = renderConfig('d', [
      parseSite('a=gcs:x'),
      {
        name: 'b',
        kind: 'azure',
        fields: [
          ['container', 'c'],
          ['account', 'abc'],
          ['jurisdiction', value],
        ],
      },
    ]);
    assert.equal(parseConfig(text, 'isobar.yaml', {}).sites.b?.jurisdiction, value);
  }
});
