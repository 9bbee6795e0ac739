import assert from 'node:assert/strict';
import { test } from 'node:test';
import { converge } from '../chaos/convergence.ts';
import { availableServers } from '../servers/start.ts';
import { honestClouds } from './sites.ts';

const missing = Object.values(honestClouds).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;

// Ten minutes of it: `npm run chaos:convergence`.
test('native writers at three sites that are cut off and paused, workers that are killed: one outcome', {
  skip,
}, async (context) => {
  const say = (line: string) => context.diagnostic(line);
  const { violations, ...figures } = await converge(20_000, say, AbortSignal.timeout(5 * 60_000));
  say(JSON.stringify(figures));
  assert.deepEqual(violations, []);
  const { pause, refuse, reset, blackhole, workersKilled } = figures.faults;
  for (const times of [pause, refuse, reset, blackhole, workersKilled])
    assert.ok(times > 0, 'a fault is missing');
  assert.ok(figures.losers > 0, 'nothing was written at two sites at once');
});
