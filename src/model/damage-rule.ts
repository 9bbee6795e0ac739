import type { Pattern } from './pattern.ts';

/** How many keys one window may lose or change. The larger of `keys` and `share`; `sigma` beside it. */
export interface DamageBudget {
  readonly keys: number;
  /** 0 to 1, of the keys that the rule matches. */
  readonly share: number;
  /** Standard deviations over what was learned of this hour of the day; 0: what was learned is not asked. */
  readonly sigma: number;
}

/** What may happen to the keys that `match` within a window, before deletions and overwrites are held back. */
export interface DamageRule {
  readonly match: Pattern;
  readonly windowMs: number;
  readonly deletes?: DamageBudget;
  readonly overwrites?: DamageBudget;
  /** Overwrites of plain bodies by ones that look like noise: this many, and this share of those that can be told. */
  readonly entropy?: { readonly keys: number; readonly share: number };
  /** Keys renamed to one extension that the dataset did not have. */
  readonly renames?: { readonly keys: number };
}
