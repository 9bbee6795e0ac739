import type { Conflicts, WriteMode } from '../../model/policy.ts';
import type { SiteId } from '../../model/version.ts';
import { type Rates, stormyRates } from './faults.ts';
import { Random } from './random.ts';

/** What somebody does, or what befalls the world, at a moment of virtual time. */
export type Happening = { readonly atMs: number } & (
  | {
      readonly kind: 'put';
      readonly worker: number;
      readonly key: string;
      readonly id: string;
      readonly padding: number;
    }
  | { readonly kind: 'rm'; readonly worker: number; readonly key: string; readonly id: string }
  | { readonly kind: 'get'; readonly worker: number; readonly key: string }
  | {
      readonly kind: 'native-put';
      readonly site: SiteId;
      readonly key: string;
      readonly id: string;
      readonly padding: number;
      readonly notice: boolean;
    }
  | {
      readonly kind: 'native-rm';
      readonly site: SiteId;
      readonly key: string;
      readonly id: string;
      readonly notice: boolean;
    }
  | {
      readonly kind: 'partition';
      readonly site: SiteId;
      readonly workers: readonly number[];
      readonly forMs: number;
    }
  | {
      readonly kind: 'storm';
      readonly site: SiteId;
      readonly code: 'throttled' | 'unavailable';
      readonly forMs: number;
    }
  | { readonly kind: 'worker-crash'; readonly worker: number; readonly downMs: number }
  | { readonly kind: 'site-crash'; readonly site: SiteId }
  | { readonly kind: 'ledger-torn' }
  | { readonly kind: 'clock-jump'; readonly worker: number; readonly skewMs: number }
);

type Work = Extract<Happening, { kind: 'put' | 'rm' | 'native-put' | 'native-rm' }>;

/** A whole run as data: the same schedule gives the same run. */
export interface Schedule {
  readonly seed: string;
  readonly sites: readonly SiteId[];
  readonly workers: number;
  readonly write: WriteMode;
  readonly conflicts: Conflicts;
  /** Deletions at one site that are believed between two scans. */
  readonly maxDeletes: number;
  /** Per worker, in milliseconds. */
  readonly skewsMs: readonly number[];
  readonly rates: Rates;
  /** The weather and the work end here; then it must come to rest. */
  readonly untilMs: number;
  readonly happenings: readonly Happening[];
  /** One act for every key, when all is calm. */
  readonly afterwards: readonly Work[];
}

const siteNames = ['aws', 'gcp', 'azure'];
const modes: readonly WriteMode[] = [
  { kind: 'async' },
  { kind: 'async' },
  { kind: 'sync', acks: 'majority' },
  { kind: 'sync', acks: 'all' },
];

const rules: readonly Conflicts[] = [
  'last-writer-wins',
  'last-writer-wins',
  'keep-both',
  { prefer: 'gcp' },
  [{ match: '**/*.json', rule: 'merge-json' }],
];

export function scheduleOf(seed: string | number): Schedule {
  const random = new Random(seed);
  const workers = random.between(1, 4);
  const untilMs = random.between(5, 40) * 1_000;
  const keys = Array.from({ length: random.between(1, 7) }, (_, i) =>
    i % 2 === 0 ? `k${i}` : `dir/k${i}.json`,
  );
  const happenings: Happening[] = [];
  const work = random.between(5, 60);
  for (let i = 0; i < work; i++) happenings.push(someWork(random, `w${i}`, keys, workers, untilMs));
  const weather = random.between(0, 9);
  for (let i = 0; i < weather; i++) happenings.push(someWeather(random, workers, untilMs));
  const calm = random.chance(0.1);
  return {
    seed: String(seed),
    sites: siteNames,
    workers,
    write: random.pick(modes),
    conflicts: random.fork('conflicts').pick(rules),
    maxDeletes: random.fork('guards').pick([100, 100, 1]),
    skewsMs: Array.from({ length: workers }, () => (random.chance(0.3) ? random.between(-400, 400) : 0)),
    rates: calm ? {} : scaled(stormyRates, random.next() * 2),
    untilMs,
    happenings: happenings.sort((a, b) => a.atMs - b.atMs),
    afterwards: keys.map((key, i) => lastWork(random, `z${i}`, key, workers)),
  };
}

function someWork(
  random: Random,
  id: string,
  keys: readonly string[],
  workers: number,
  untilMs: number,
): Happening {
  const atMs = random.between(0, untilMs);
  const key = random.pick(keys);
  const worker = random.between(0, workers);
  const site = random.pick(siteNames);
  const padding = random.chance(0.1) ? 0 : random.between(1, 300);
  const dice = random.next();
  if (dice < 0.3) return { atMs, kind: 'put', worker, key, id, padding };
  if (dice < 0.4) return { atMs, kind: 'rm', worker, key, id };
  if (dice < 0.5) return { atMs, kind: 'get', worker, key };
  const notice = random.chance(0.7);
  if (dice < 0.85) return { atMs, kind: 'native-put', site, key, id, padding, notice };
  return { atMs, kind: 'native-rm', site, key, id, notice };
}

function lastWork(random: Random, id: string, key: string, workers: number): Work {
  const work = { atMs: 0, id, key, padding: random.between(0, 300) };
  const kind = random.pick(['put', 'rm', 'native-put', 'native-rm'] as const);
  if (kind === 'put' || kind === 'rm') return { ...work, kind, worker: random.between(0, workers) };
  return { ...work, kind, site: random.pick(siteNames), notice: random.chance(0.5) };
}

function someWeather(random: Random, workers: number, untilMs: number): Happening {
  const atMs = random.between(0, untilMs);
  const site = random.pick(siteNames);
  const worker = random.between(0, workers);
  const forMs = random.between(100, 15_000);
  const dice = random.next();
  if (dice < 0.3) {
    const all = Array.from({ length: workers }, (_, i) => i);
    return { atMs, kind: 'partition', site, workers: all.filter(() => random.chance(0.7)), forMs };
  }
  if (dice < 0.45)
    return { atMs, kind: 'storm', site, code: random.pick(['throttled', 'unavailable']), forMs };
  if (dice < 0.7) return { atMs, kind: 'worker-crash', worker, downMs: random.between(0, 8_000) };
  if (dice < 0.8) return { atMs, kind: 'site-crash', site };
  if (dice < 0.9) return { atMs, kind: 'ledger-torn' };
  return { atMs, kind: 'clock-jump', worker, skewMs: random.between(-600_000, 600_000) };
}

function scaled(rates: Rates, by: number): Rates {
  return Object.fromEntries(Object.entries(rates).map(([kind, rate]) => [kind, rate * by]));
}
