import { honestClouds, startSystem } from '../e2e/sites.ts';
import { killRepeatedly } from './kills.ts';

// `npm run chaos [-- KILLS]`: fifty kills of the daemon under load, on real servers.
const kills = Number(process.argv[2] ?? 50);
const system = await startSystem(honestClouds);
try {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const result = await killRepeatedly(system, kills, say, AbortSignal.timeout(3_600_000));
  say(JSON.stringify(result));
} finally {
  await system.stop();
}
