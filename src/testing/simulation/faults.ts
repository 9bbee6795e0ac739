/** Everything that can go wrong in a simulated world. Each kind is counted when it took effect. */
export const faultKinds = [
  'slow-request',
  'lost-request',
  'lost-reply',
  'throttled',
  'unavailable',
  'partition',
  'corrupt-read',
  'corrupt-write',
  'listing-truncated',
  'listing-empty',
  'listing-repeated',
  'listing-broken',
  'change-delayed',
  'change-duplicated',
  'change-lost',
  'change-reordered',
  'ledger-unavailable',
  'ledger-torn',
  'worker-crash',
  'site-crash',
  'clock-skew',
  'clock-jump',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** How often per request, 0 to 1, unless the schedule says when. */
export type Rates = Readonly<Partial<Record<FaultKind, number>>>;

export const stormyRates: Rates = {
  'slow-request': 0.03,
  'lost-request': 0.01,
  'lost-reply': 0.01,
  throttled: 0.01,
  unavailable: 0.01,
  'corrupt-read': 0.01,
  'corrupt-write': 0.01,
  'listing-truncated': 0.03,
  'listing-empty': 0.03,
  'listing-repeated': 0.03,
  'listing-broken': 0.03,
  'change-delayed': 0.1,
  'change-duplicated': 0.05,
  'change-lost': 0.05,
  'change-reordered': 0.1,
  'ledger-unavailable': 0.002,
  'worker-crash': 0.0005,
};

/** What took effect, by kind of anything. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(kind: string, count = 1): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + count);
  }

  get(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }

  addAll(other: Readonly<Record<string, number>>): void {
    for (const [kind, count] of Object.entries(other)) this.add(kind, count);
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
