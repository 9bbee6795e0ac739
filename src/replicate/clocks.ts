import { type Clocks, limits } from '../merging/rule.ts';
import { StoreFailure } from '../model/failure.ts';
import { keyHash, reservedPrefix } from '../model/key.ts';
import { noMetadata } from '../model/metadata.ts';
import type { Version } from '../model/version.ts';
import type { Shell, Site } from './shell.ts';

// When the parts of a merged body were written, for the next merge: one object per key at the site that merged, for the
// last merge there. It may be missing: a merge without it is decided by the version of the whole.

const mostBytes = 4 * 1024 * 1024;

function clocksKey(key: string): string {
  return `${reservedPrefix}clocks/${keyHash(key)}`;
}

/** Of a version that a merge made; undefined where none did, or the site that merged cannot be asked. */
export async function keptClocks(
  shell: Shell,
  key: string,
  { dot, operation }: Version,
  signal: AbortSignal,
): Promise<Clocks | undefined> {
  const site = shell.sites.get(dot.site);
  if (!site?.breaker.closed) return undefined;
  try {
    const read = await site.store.read(clocksKey(key), {}, signal);
    if (!read || read.head.size > mostBytes) return undefined;
    const kept = JSON.parse(Buffer.from(await read.bytes()).toString('utf8')) as {
      readonly operation?: string;
      readonly clocks?: Clocks;
    };
    return kept.operation === operation ? kept.clocks : undefined;
  } catch (failure) {
    signal.throwIfAborted();
    if (failure instanceof StoreFailure || failure instanceof SyntaxError) return undefined;
    throw failure;
  }
}

/** Before the body, so that no merge lacks what the one before it knew. */
export async function keepClocks(
  shell: Shell,
  { store }: Site,
  key: string,
  { operation }: Version,
  clocks: Clocks,
  signal: AbortSignal,
): Promise<void> {
  if (Object.keys(clocks).length === 0 || Object.keys(clocks).length > limits.clocks) return;
  const body = Buffer.from(JSON.stringify({ operation, clocks }));
  const metadata = { ...noMetadata, contentType: 'application/json' };
  const write = { key: clocksKey(key), body, metadata };
  for (let round = 0; round < shell.settings.rounds; round++) {
    const there = await store.head(write.key, signal);
    const condition = there
      ? ({ kind: 'match', token: there.token } as const)
      : ({ kind: 'absent' } as const);
    if ((await store.write({ ...write, condition }, signal)).kind === 'written') return;
  }
}
