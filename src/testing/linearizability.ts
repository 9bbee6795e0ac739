/** One operation of one client on one key. Times need only be comparable; `calledAt` < `returnedAt`. */
interface Call {
  readonly client: string;
  readonly key: string;
  readonly calledAt: number;
  /** Infinity where the caller never learnt what came of it. */
  readonly returnedAt: number;
}

export interface ReadCall extends Call {
  readonly kind: 'get';
  /** Undefined: absent. */
  readonly value: string | undefined;
  /** Of the write that was read, where the reader learnt it. */
  readonly tag?: string;
}

export type WriteCondition =
  | { readonly kind: 'if-absent' }
  /** The key holds the value that the write with this tag put there. */
  | { readonly kind: 'if-match'; readonly tag: string };

export interface WriteCall extends Call {
  readonly kind: 'write';
  /** Undefined: a removal. */
  readonly value: string | undefined;
  /** The name of this write, where anybody learnt it; no other write has it. */
  readonly tag?: string;
  readonly condition?: WriteCondition;
  /**
   * `ok`: it took effect between call and return. `conflict`: its condition did not hold at some time in between.
   * `failed`: it never takes effect. `unknown`: it takes effect at any time after its call, or never.
   */
  readonly outcome: 'ok' | 'conflict' | 'failed' | 'unknown';
}

export type HistoryCall = ReadCall | WriteCall;

export type Verdict =
  | { readonly kind: 'linearizable' }
  /** No order of this key's operations explains what was answered. */
  | { readonly kind: 'violation'; readonly key: string; readonly calls: readonly HistoryCall[] };

/** Of each key by itself: a history is linearizable exactly when those of its keys are (Herlihy and Wing, 1990). */
export function checkHistory(history: readonly HistoryCall[]): Verdict {
  for (const [key, calls] of Map.groupBy(history, (call) => call.key)) {
    if (!isLinearizable(calls)) return { kind: 'violation', key, calls };
  }
  return { kind: 'linearizable' };
}

/** Entries of the list that is searched: a call, and unless its end is unknown a return. */
interface Entry {
  readonly at: number;
  readonly call: number;
  /** Undefined on a return. */
  match: Entry | undefined;
  readonly isCall: boolean;
  before: Entry;
  after: Entry | undefined;
}

/**
 * Wing and Gong's search (1993) with Lowe's memory of what was tried (2017): of the operations that may come next one
 * is taken out of the list, and put back when the rest cannot be explained. Where the same operations were already
 * taken and the key held the same, the rest was tried before.
 */
export function isLinearizable(history: readonly HistoryCall[]): boolean {
  const calls = history.filter((call) => call.kind === 'get' || call.outcome !== 'failed');
  const head = listOf(calls);
  let demanded = calls.filter((call) => call.returnedAt !== Number.POSITIVE_INFINITY).length;
  /** Which write the key holds; -1: none yet. */
  let state = -1;
  let taken = 0n;
  const tried = new Set<string>();
  const undo: { readonly entry: Entry; readonly state: number }[] = [];
  let entry = head.after;
  while (demanded > 0) {
    if (entry?.isCall) {
      const next = step(calls, state, entry.call);
      const with_ = taken | (1n << BigInt(entry.call));
      const name = `${with_.toString(36)}:${next}`;
      if (next !== undefined && !tried.has(name)) {
        tried.add(name);
        undo.push({ entry, state });
        [state, taken] = [next, with_];
        if (entry.match) demanded -= 1;
        takeOut(entry);
        entry = head.after;
      } else entry = entry.after;
      continue;
    }
    // A return whose call could not be taken, or the end of the list: the last choice was wrong.
    const last = undo.pop();
    if (!last) return false;
    state = last.state;
    taken &= ~(1n << BigInt(last.entry.call));
    if (last.entry.match) demanded += 1;
    putBack(last.entry);
    entry = last.entry.after;
  }
  return true;
}

/** What the key holds after `calls[index]`, or undefined where it cannot have been answered so. */
function step(calls: readonly HistoryCall[], state: number, index: number): number | undefined {
  const call = calls[index]!;
  const held = state < 0 ? undefined : (calls[state] as WriteCall);
  if (call.kind === 'get') {
    const same = held?.value === call.value && (!call.tag || !held?.tag || call.tag === held.tag);
    return same ? state : undefined;
  }
  const holds = !call.condition || conditionHolds(call.condition, held);
  if (call.outcome === 'conflict') return holds ? undefined : state;
  return holds ? index : undefined;
}

function conditionHolds(condition: WriteCondition, held: WriteCall | undefined): boolean {
  if (condition.kind === 'if-absent') return held?.value === undefined;
  return held?.value !== undefined && held.tag === condition.tag;
}

function listOf(calls: readonly HistoryCall[]): Entry {
  const entries: Entry[] = [];
  for (const [call, { calledAt, returnedAt }] of calls.entries()) {
    const fields = { call, before: undefined as never, after: undefined };
    const called: Entry = { ...fields, at: calledAt, match: undefined, isCall: true };
    entries.push(called);
    if (returnedAt === Number.POSITIVE_INFINITY) continue;
    called.match = { ...fields, at: returnedAt, match: undefined, isCall: false };
    entries.push(called.match);
  }
  // What was called at the very time of another's return may have come before it.
  entries.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
  const fields = { at: Number.NEGATIVE_INFINITY, call: -1, match: undefined, isCall: false };
  const head: Entry = { ...fields, before: undefined as never, after: undefined };
  let last = head;
  for (const entry of entries) {
    entry.before = last;
    last.after = entry;
    last = entry;
  }
  return head;
}

function takeOut(entry: Entry): void {
  unlink(entry);
  if (entry.match) unlink(entry.match);
}

/** In the opposite order of `takeOut`, so that each entry finds its neighbours as it left them. */
function putBack(entry: Entry): void {
  if (entry.match) relink(entry.match);
  relink(entry);
}

function unlink(entry: Entry): void {
  entry.before.after = entry.after;
  if (entry.after) entry.after.before = entry.before;
}

function relink(entry: Entry): void {
  entry.before.after = entry;
  if (entry.after) entry.after.before = entry;
}
