import type { DamageBudget, DamageRule } from '../model/damage-rule.ts';
import type { SiteId } from '../model/version.ts';
import { type Habit, learnWindow, newHabit, usual } from './damage-habit.ts';
import { mostExtensions } from './damage-renames.ts';

export type DamageVerb = 'deletes' | 'overwrites';

/** What was counted of one rule in one window. A key counts once: what is younger than the window is not old data. */
export interface DamageWindow {
  /** Milliseconds since 1970. */
  readonly startMs: number;
  readonly deletes: number;
  readonly overwrites: number;
  /** As above, what a scan found after a gap spread over the gap: for the learned rate alone. */
  readonly rate: Readonly<Record<DamageVerb, number>>;
  /** Overwrites of which both bodies could be judged, and those of plain bytes by noise. */
  readonly sampled: number;
  readonly jumps: number;
  /** Renamed keys, by the extension that is new to the dataset. */
  readonly renames: Readonly<Record<string, number>>;
}

export interface Hold {
  readonly kind: 'hold';
  readonly because: DamageVerb | 'unusual-deletes' | 'unusual-overwrites' | 'entropy' | 'renames';
  readonly numbers: { readonly count: number; readonly allowed: number; readonly of?: number };
  /** Of renames. */
  readonly extension?: string;
}

export type DamageVerdict = { readonly kind: 'pass' } | Hold;

/** A hold stands until a person releases it. */
export interface Standing extends Hold {
  readonly sinceMs: number;
  /** Where the change was made that was one too many. */
  readonly site: SiteId;
  /** Changes of the window, and since: all that may be held. */
  readonly keys: number;
}

/** All that is remembered of one rule: plain data, kept in the ledger. */
export interface DamageState {
  readonly window: DamageWindow;
  readonly habits: Readonly<Record<DamageVerb, Habit>>;
  /** Live keys that the rule matches, by the last scan. */
  readonly known: number;
  /** Extensions that were there before: renaming to them is nothing new. */
  readonly extensions: readonly string[];
  readonly held?: Standing;
  /** What was written before is released, whenever its body is looked at. Milliseconds since 1970. */
  readonly releasedMs?: number;
}

export type Happening =
  /** A key was deleted or overwritten by a user. `spread`: over how many windows it may have happened; at least 1. */
  | { readonly kind: DamageVerb; readonly atMs: number; readonly site: SiteId; readonly spread: number }
  | {
      readonly kind: 'sample';
      readonly atMs: number;
      readonly site: SiteId;
      /** When the body was written. */
      readonly writtenMs: number;
      readonly jump: boolean;
    }
  | { readonly kind: 'rename'; readonly atMs: number; readonly site: SiteId; readonly extension: string }
  | {
      readonly kind: 'scan';
      readonly atMs: number;
      readonly known: number;
      readonly extensions: readonly string[];
    };

export function newDamageState(nowMs: number, rule: DamageRule): DamageState {
  const habit = newHabit(nowMs);
  return {
    window: newWindow(nowMs, rule),
    habits: { deletes: habit, overwrites: habit },
    known: 0,
    extensions: [],
  };
}

/** The state after it; a hold that it leads to stands in it. */
export function afterHappening(state: DamageState, happening: Happening, rule: DamageRule): DamageState {
  const now = atTime(state, happening.atMs, rule);
  if (happening.kind === 'scan') {
    const all = [...new Set([...now.extensions, ...happening.extensions])];
    return { ...now, known: happening.known, extensions: all.slice(0, mostExtensions) };
  }
  const counted = { ...now, window: countedIn(now, happening) };
  const { kind, atMs, site } = happening;
  const isChange = kind === 'deletes' || kind === 'overwrites';
  if (counted.held) {
    return isChange ? { ...counted, held: { ...counted.held, keys: counted.held.keys + 1 } } : counted;
  }
  const verdict = judgeDamage(counted, rule);
  if (verdict.kind === 'pass') return counted;
  const keys = Math.max(1, counted.window.deletes + counted.window.overwrites);
  return { ...counted, held: { ...verdict, sinceMs: atMs, site, keys } };
}

/** Whether deletions and overwrites go on. A hold that stands is not judged anew. */
export function judgeDamage(state: DamageState, rule: DamageRule): DamageVerdict {
  const { window, held } = state;
  if (held) return held;
  return (
    beyondBudget('deletes', rule.deletes, state) ??
    beyondBudget('overwrites', rule.overwrites, state) ??
    tooNoisy(window, rule) ??
    renamedAlike(window, rule) ?? { kind: 'pass' }
  );
}

/**
 * A person said go to `seen` changes. What was held is let go, and is learned as meant; when more came since than
 * one window may hold, these were never seen, and the hold stands.
 */
export function released(state: DamageState, seen: number, nowMs: number, rule: DamageRule): DamageState {
  const { held, window } = state;
  if (!held) return state;
  const slack = Math.max(rule.deletes?.keys ?? 0, rule.overwrites?.keys ?? 0);
  if (held.keys - seen > slack) return state;
  const { held: _, ...free } = state;
  const fresh = { ...emptyWindow, startMs: window.startMs };
  return { ...free, habits: learned(state), window: fresh, releasedMs: nowMs };
}

/** A window that has ended is learned, unless something of it is held. */
function atTime(state: DamageState, atMs: number, rule: DamageRule): DamageState {
  const window = newWindow(atMs, rule);
  // A clock that was set back counts on in the window that it was in.
  if (window.startMs <= state.window.startMs) return state;
  return { ...state, window, habits: state.held ? state.habits : learned(state) };
}

function learned({ habits, window }: DamageState): DamageState['habits'] {
  return {
    deletes: learnWindow(habits.deletes, window.startMs, window.rate.deletes),
    overwrites: learnWindow(habits.overwrites, window.startMs, window.rate.overwrites),
  };
}

function countedIn(
  { window, extensions, releasedMs = 0 }: DamageState,
  happening: Exclude<Happening, { kind: 'scan' }>,
): DamageWindow {
  switch (happening.kind) {
    case 'sample':
      if (happening.writtenMs <= releasedMs) return window;
      return { ...window, sampled: window.sampled + 1, jumps: window.jumps + (happening.jump ? 1 : 0) };
    case 'rename': {
      const { extension } = happening;
      const isKnown = extensions.includes(extension);
      const isFull = Object.keys(window.renames).length >= mostExtensions;
      if (isKnown || (isFull && window.renames[extension] === undefined)) return window;
      return { ...window, renames: { ...window.renames, [extension]: (window.renames[extension] ?? 0) + 1 } };
    }
    default: {
      const { kind, spread } = happening;
      const rate = { ...window.rate, [kind]: window.rate[kind] + 1 / spread };
      return { ...window, [kind]: window[kind] + 1, rate };
    }
  }
}

function beyondBudget(
  verb: DamageVerb,
  budget: DamageBudget | undefined,
  { window, known, habits }: DamageState,
): Hold | undefined {
  if (!budget) return undefined;
  const count = window[verb];
  const allowed = Math.max(budget.keys, Math.floor(budget.share * known));
  if (count > allowed) return { kind: 'hold', because: verb, numbers: { count, allowed, of: known } };
  const rate = Math.ceil(window.rate[verb]);
  const most = budget.sigma > 0 ? usual(habits[verb], window.startMs, budget.sigma) : undefined;
  if (most === undefined || rate <= most) return undefined;
  return { kind: 'hold', because: `unusual-${verb}`, numbers: { count: rate, allowed: most, of: known } };
}

function tooNoisy({ jumps, sampled }: DamageWindow, { entropy }: DamageRule): Hold | undefined {
  if (!entropy || jumps < entropy.keys || jumps < entropy.share * sampled) return undefined;
  const numbers = { count: jumps, allowed: entropy.keys - 1, of: sampled };
  return { kind: 'hold', because: 'entropy', numbers };
}

function renamedAlike({ renames }: DamageWindow, rule: DamageRule): Hold | undefined {
  const most = rule.renames?.keys;
  if (most === undefined) return undefined;
  const found = Object.entries(renames).find(([, count]) => count >= most);
  if (!found) return undefined;
  const [extension, count] = found;
  return { kind: 'hold', because: 'renames', numbers: { count, allowed: most - 1 }, extension };
}

const emptyWindow: Omit<DamageWindow, 'startMs'> = {
  deletes: 0,
  overwrites: 0,
  rate: { deletes: 0, overwrites: 0 },
  sampled: 0,
  jumps: 0,
  renames: {},
};

function newWindow(atMs: number, { windowMs }: DamageRule): DamageWindow {
  return { ...emptyWindow, startMs: Math.floor(atMs / windowMs) * windowMs };
}
