import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openStage, pausedClouds, pauseOne, type Stage } from '../chaos/pause.ts';
import { availableServers } from '../servers/start.ts';

const missing = Object.values(pausedClouds).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;
const signal = AbortSignal.timeout(4 * 60_000);

let stage: Stage;

before(async () => {
  if (!skip) stage = await openStage();
});

after(async () => {
  await stage?.close();
});

// Rates and delays are measured by `node test/chaos/pause.ts 60`. Here stands what holds whatever the speed.
for (const [paused, pauseMs] of Object.entries({ aws: 12_000, minio: 4_000, azure: 4_000 })) {
  test(`${paused} is paused under load: the others get everything, and it catches up`, {
    skip,
  }, async (context) => {
    const healthy = stage.system.sites.filter(({ name }) => name !== paused);
    const options = {
      paused,
      pauseMs,
      baselineMs: 1_000,
      perSecond: 15,
      async beforeResume() {
        const sent = stage.load.arrivals.length;
        for (const { name, native } of healthy) await stage.load.untilListed(name, native, sent, signal);
        assert.ok(stage.load.missingAt(paused).length > 0, 'nothing was written during the pause');
      },
    };
    const result = await pauseOne(stage, options, signal);
    context.diagnostic(JSON.stringify(result));
    assert.equal(result.during.failed, 0);
    assert.ok(
      result.lag.mostBelowMs <= 50,
      `status said ${result.lag.mostBelowMs} ms less than the true lag`,
    );
    assert.ok(result.lag.largestMs >= pauseMs - 2_000, `the lag grew to ${result.lag.largestMs} ms only`);
    await assertAllThere();
  });
}

/** What the servers themselves list, and what a verification says. */
async function assertAllThere(): Promise<void> {
  const written = stage.load.arrivals.filter(({ ackedMs }) => ackedMs !== undefined).map(({ key }) => key);
  for (const { name, native } of stage.system.sites) {
    const there = new Set<string>();
    for await (const page of native.list({}, signal)) for (const { key } of page) there.add(key);
    assert.deepEqual(
      written.filter((key) => !there.has(key)),
      [],
      `lost at ${name}`,
    );
  }
  const { dataset } = stage.opened;
  const verified = await dataset.verify({ deep: true }, (one) => assert.fail(JSON.stringify(one)), signal);
  assert.deepEqual(verified.away, {});
  for (const { site, backlogKeys, parked } of await dataset.status())
    assert.equal(backlogKeys + parked, 0, site);
}
