import { StoreFailure } from '../model/failure.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { Version } from '../model/version.ts';
import type { World } from '../ports/world.ts';
import { type HookOutcome, HookRefused, outcomeOf } from './hook-answer.ts';
import type { Merged, Side } from './rule.ts';

export const hookLimits = {
  /** A body up to this size is in the request, base64; a larger one is only named. */
  inlineBytes: 1024 * 1024,
  /** Of an answer: a body of 8 MiB in base64, and its metadata. */
  answerBytes: 12 * 1024 * 1024,
  attempts: 3,
  /** Before the second attempt; doubled before each further one, and drawn from half of that upwards. */
  pauseMs: 500,
} as const;

/** One of the writes that met, or their ancestor. */
export interface HookSide {
  readonly version: Version;
  /** In bytes. */
  readonly size: number;
  readonly metadata: ObjectMetadata;
  /** Absent where it is larger than what is read for a hook. */
  readonly body?: Uint8Array;
  /** Where the body can be read: site, and key at that site. */
  readonly at?: { readonly site: string; readonly key: string };
}

export interface HookRequest {
  readonly dataset: string;
  readonly key: string;
  /** The greater version first: the one that would win. */
  readonly sides: readonly [HookSide, HookSide];
  readonly base?: HookSide;
}

/**
 * Takes the request's JSON to the hook and its answer back. Throws `HookAway` where asking again may help, `HookRefused`
 * where not; whatever else it throws counts as away.
 */
export type HookTransport = (request: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

/** No answer, or one that says: later. */
export class HookAway extends Error {
  override readonly name = 'HookAway';
}

export interface HookPatience {
  readonly world: Pick<World, 'sleep' | 'random'>;
  /** Of each attempt. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * What the user's program decides. Asks a bounded number of times; then throws `StoreFailure` `unmerged`, which parks
 * the change, as it does for an answer that says so or cannot be believed.
 */
export async function askHook(
  request: HookRequest,
  transport: HookTransport,
  patience: HookPatience,
): Promise<HookOutcome> {
  const bytes = encodeHookRequest(request);
  for (let attempt = 1; ; attempt++) {
    try {
      const outcome = outcomeOf(await withDeadline(transport, bytes, patience), request);
      if (outcome.kind === 'park') throw new HookRefused(`it asked to park: ${outcome.because}`);
      return outcome;
    } catch (error) {
      patience.signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      if (error instanceof HookRefused || attempt === hookLimits.attempts) {
        const tries = attempt > 1 ? ` (asked ${attempt} times)` : '';
        const what = `the hook did not merge ${request.key}${tries}: ${why}`;
        throw new StoreFailure('unmerged', `${what}. Mend it, then release the parked change`, {
          cause: error,
        });
      }
      await patience.world.sleep(pauseMs(attempt, patience.world.random()), patience.signal);
    }
  }
}

function pauseMs(attempt: number, random: number): number {
  return hookLimits.pauseMs * 2 ** (attempt - 1) * (0.5 + random / 2);
}

/** Ends in time even where the transport does not listen to its signal. */
async function withDeadline(
  transport: HookTransport,
  bytes: Uint8Array,
  { world, timeoutMs, signal }: HookPatience,
): Promise<Uint8Array> {
  const attempt = new AbortController();
  const over = new AbortController();
  const deadline = async (): Promise<never> => {
    await world.sleep(timeoutMs, AbortSignal.any([signal, over.signal]));
    throw new HookAway(`no answer within ${timeoutMs} ms`);
  };
  try {
    return await Promise.race([transport(bytes, AbortSignal.any([signal, attempt.signal])), deadline()]);
  } finally {
    over.abort();
    attempt.abort();
  }
}

/** `docs/merging.md` has an example. */
export function encodeHookRequest({ dataset, key, sides, base }: HookRequest): Uint8Array {
  const request = {
    isobar: 1,
    dataset,
    key,
    versions: sides.map(encodeSide),
    ...(base ? { base: encodeSide(base) } : {}),
  };
  return new TextEncoder().encode(JSON.stringify(request));
}

function encodeSide({ version, size, metadata, body, at }: HookSide) {
  const inline = body !== undefined && body.length <= hookLimits.inlineBytes;
  return {
    id: version.operation,
    stamp: version.stamp,
    site: version.dot.site,
    size,
    metadata,
    ...(inline ? { body: Buffer.from(body).toString('base64') } : {}),
    ...(at ? { at } : {}),
  };
}

/** A function of the user's own program, in this process: it gets the request as an object and returns the answer. */
export function moduleTransport(decide: (request: unknown, signal: AbortSignal) => unknown): HookTransport {
  return async (request, signal) => {
    const answer = await decide(JSON.parse(new TextDecoder().decode(request)), signal);
    return new TextEncoder().encode(JSON.stringify(answer) ?? '');
  };
}

/** The write that an outcome asks for, or undefined for `keep-both`. Nothing of a loser is taken as kept. */
export function mergedBy(outcome: HookOutcome, winner: Side, loser: Side): Merged | undefined {
  if (outcome.kind === 'keep-both' || outcome.kind === 'park') return undefined;
  const pick =
    outcome.kind === 'pick'
      ? [winner, loser].find((side) => side.version.operation === outcome.id)
      : undefined;
  const written = outcome.kind === 'write' ? outcome : pick!;
  return {
    kind: 'merged',
    body: written.body,
    metadata: written.metadata ?? winner.metadata,
    clocks: {},
    dropped: written === loser ? [] : [''],
    droppedOfWinner: written === winner ? [] : [''],
  };
}
