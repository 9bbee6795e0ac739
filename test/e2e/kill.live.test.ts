import { test } from 'node:test';
import { killRepeatedly } from '../chaos/kills.ts';
import { availableServers } from '../servers/start.ts';
import { honestClouds, startSystem } from './sites.ts';

const missing = Object.values(honestClouds).filter((name) => !availableServers().includes(name));
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')} (npm run servers)` : false;

test('kill -9 of the daemon at ten random moments under load', { skip }, async (context) => {
  const system = await startSystem(honestClouds);
  try {
    const result = await killRepeatedly(
      system,
      10,
      (line) => context.diagnostic(line),
      AbortSignal.timeout(240_000),
    );
    context.diagnostic(JSON.stringify(result));
  } finally {
    await system.stop();
  }
});
