import { BodyDigest } from '../model/digest.ts';
import { StoreFailure } from '../model/failure.ts';
import { sameMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { Condition, ObjectHead, ObjectStore, Token } from '../ports/object-store.ts';
import type { Body } from '../replicate/attempt.ts';
import { contentBody, tagOn, withoutTag, withTag } from './body.ts';
import type { Value, Versioned } from './head.ts';
import { gather, operate } from './operation.ts';
import { settle } from './settle.ts';
import type { StrongShell } from './shell.ts';
import { copyTo, stage } from './staging.ts';
import { compareTags, encodeTag, sameTag } from './tag.ts';
import { type StrongCondition, writeIf } from './write.ts';

/** `held`: it stood there already. `later`: something later does. */
export type Projected = 'held' | 'written' | 'removed' | 'later';

export interface Projection {
  /** Sites that failed are missing: see the event. */
  readonly sites: ReadonlyMap<SiteId, Projected>;
}

/** Resolves when every site has what the key holds under its native key, or has failed. */
export async function project(shell: StrongShell, key: string, signal: AbortSignal): Promise<Projection> {
  const held = await heldOf(shell, key, signal);
  const calls = new Set<Promise<unknown>>();
  const { answers } = await gather(
    { shell, key, calls },
    (site) => projectTo(shell, site, key, signal, held),
    () => false,
    signal,
  );
  signal.throwIfAborted();
  return { sites: answers };
}

/**
 * One site by itself, so that a slow one holds up no other. An absence names no write, and where equal bodies share a
 * token neither does that: there a late projection can bring back what was projected before a later one. So it looks
 * again whether that is still what the key holds.
 */
export async function projectTo(
  shell: StrongShell,
  site: SiteId,
  key: string,
  signal: AbortSignal,
  known?: Versioned,
): Promise<Projected> {
  const store = shell.sites.get(site)!;
  let held = known ?? (await heldOf(shell, key, signal));
  for (let round = 0; round < shell.settings.rounds; round++) {
    const native = await store.head(key, signal);
    if (native && (await isForeign(store, key, native, held, signal))) {
      await adopt(shell, site, key, held, native, signal);
      held = await heldOf(shell, key, signal);
      continue;
    }
    const done = await projectOver(shell, store, key, held, native, signal);
    if (done === 'held' || done === 'later') return done;
    if (done !== 'conflict' && native && !store.capabilities.tokenIsContentDigest) return done;
    const now = await heldOf(shell, key, signal);
    if (done !== 'conflict' && sameTag(now.tag, held.tag)) return done;
    held = now;
  }
  throw new StoreFailure('unavailable', `"${key}" changes faster than it can be projected to ${site}`);
}

async function projectOver(
  shell: StrongShell,
  store: ObjectStore,
  key: string,
  held: Versioned,
  native: ObjectHead | undefined,
  signal: AbortSignal,
): Promise<Projected | 'conflict'> {
  const { tag, value } = held;
  const there = native && tagOn(key, native.metadata);
  const order = there ? compareTags(there, tag) : -1;
  if (order > 0) return 'later';
  if (value.deleted) {
    if (!native) return 'held';
    return (await store.remove(key, native.token, signal)).kind;
  }
  if (order === 0) return 'held';
  const condition: Condition = native ? { kind: 'match', token: native.token } : { kind: 'absent' };
  const body = contentBody(shell, key, { tag, value }, signal);
  const metadata = withTag(key, value.metadata, tag);
  return (await copyTo(shell, store, key, body, metadata, condition, signal)).done.kind;
}

/**
 * Whether somebody else wrote it: it has no tag of this key, or that of what the key holds and is another object. An
 * untagged object that equals what the key holds is as good as projected.
 */
async function isForeign(
  store: ObjectStore,
  key: string,
  native: ObjectHead,
  { tag, value }: Versioned,
  signal: AbortSignal,
): Promise<boolean> {
  const there = tagOn(key, native.metadata);
  if (there && compareTags(there, tag) !== 0) return false;
  if (value.deleted) return !there;
  if (native.size !== value.size || !sameMetadata(withoutTag(native.metadata), value.metadata)) return true;
  return !there && (await digestAt(store, key, native.token, signal)) !== value.digest;
}

async function digestAt(
  store: ObjectStore,
  key: string,
  token: Token,
  signal: AbortSignal,
): Promise<string | undefined> {
  const read = await store.read(key, { token }, signal);
  if (!read) return undefined;
  const digest = new BodyDigest();
  for await (const piece of read.body) digest.update(piece);
  return digest.finish();
}

/** A new write on top of what the key held: of two that adopt the same object at once one does. */
async function adopt(
  shell: StrongShell,
  site: SiteId,
  key: string,
  { tag, value }: Versioned,
  native: ObjectHead,
  signal: AbortSignal,
): Promise<void> {
  const id = shell.world.uniqueId();
  const condition: StrongCondition = value.deleted
    ? { kind: 'if-absent' }
    : { kind: 'if-match', tag: encodeTag(tag) };
  const adopted = await nativeValue(shell, site, key, id, native, signal);
  const done = await operate(shell, key, id, signal, (operation) => writeIf(operation, adopted, condition));
  if (done.kind === 'written') shell.events.breach?.({ site, key, tag: encodeTag(done.held.tag) });
}

async function nativeValue(
  shell: StrongShell,
  site: SiteId,
  key: string,
  id: string,
  native: ObjectHead,
  signal: AbortSignal,
): Promise<Value> {
  const { size, token } = native;
  const metadata = withoutTag(native.metadata);
  const body: Body = {
    size,
    read: async (range) => {
      const read = await shell.sites.get(site)!.read(key, { token, range }, signal);
      if (!read) throw new StoreFailure('changed', `"${key}" at ${site} changed while it was adopted`);
      return read.bytes();
    },
  };
  if (size > shell.settings.inlineBytes) return stage(shell, key, id, body, metadata, signal);
  const inline = await body.read({ from: 0, to: size });
  const digest = new BodyDigest();
  digest.update(inline);
  return { deleted: false, size, digest: digest.finish(), metadata, inline };
}

function heldOf(shell: StrongShell, key: string, signal: AbortSignal): Promise<Versioned> {
  return operate(shell, key, shell.world.uniqueId(), signal, settle);
}
