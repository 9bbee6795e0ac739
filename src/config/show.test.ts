import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { parseConfig } from './load.ts';
import { fileShape } from './show.ts';

test('what is shown means the same when it is read back', () => {
  const source = `
sites:
  a: { kind: s3, bucket: x, endpoint: "http://127.0.0.1:9000", accept: [delete-without-condition] }
  b: { kind: filesystem, path: b, prefix: p/, jurisdiction: EU }
  c: { kind: gcs, bucket: x, anonymous: true, limits: { concurrency: 3 } }
  d: { kind: azure, container: x, account: abc }
datasets:
  one: { sites: [a, b], write: { sync: { acks: 2 } }, guards: { maxDeletes: 7%, keep: { for: 36h, bytes: 3GiB } }, scan: { every: 90s } }
  two: { sites: [c, d], reads: balanced, guards: { maxDeletes: 12, damage: [{ match: "x/**", window: 90m, deletes: { percent: 7 }, entropy: off }] } }
listen: "[::1]:0"
sources: { a: { kind: s3-webhook, path: /notices } }
`;
  const config = parseConfig(source, '/etc/isobar.yaml', {});
  const shown = fileShape(config);
  assert.deepEqual(parseConfig(stringify(shown), '/etc/isobar.yaml', {}), config);
  assert.deepEqual((shown as { datasets: { one: { scan: object } } }).datasets.one.scan, { every: '90s' });
});
