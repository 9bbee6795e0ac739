import * as z from 'zod/mini';
import type { DamageBudget, DamageRule } from '../model/damage-rule.ts';
import { patternProblem } from '../model/pattern.ts';
import { described, duration } from './values.ts';

/** `guards.damage`: what a dataset may lose or have changed before a person is asked. */

const count = (fallback: number, description: string) =>
  described(z._default(z.int().check(z.gte(1)), fallback), description);

const percent = (fallback: number, description: string) =>
  described(z._default(z.number().check(z.gte(0), z.lte(100)), fallback), description);

const budget = z.strictObject({
  keys: count(1000, 'This many keys in one window, whatever their share.'),
  percent: percent(25, 'This many per cent of the keys that the rule matches, where that is more.'),
  sigma: described(
    z._default(z.number().check(z.gte(0)), 3),
    'And no more than this many standard deviations over what is usual at this hour of the day, once three weeks are learned; never fewer than 100 keys. 0: what is usual is not asked.',
  ),
});

const entropy = z.strictObject({
  keys: count(20, 'This many bodies that were plain and look like noise now.'),
  percent: percent(50, 'And this many per cent of the overwritten bodies that can be told.'),
});

const renames = z.strictObject({ keys: count(20, 'This many keys renamed to the same new extension.') });

/** Settings with defaults, or `off`. */
function unlessOff<T extends z.ZodMiniType>(settings: T, description: string) {
  return described(
    z.prefault(z.union([z.literal('off'), settings], { error: 'must be settings, or `off`' }), {} as never),
    description,
  );
}

const hourMs = 3_600_000;

const rule = z.pipe(
  z.strictObject({
    match: described(
      z._default(
        z.string().check(
          z.superRefine((pattern, context) => {
            const message = patternProblem(pattern);
            if (message !== undefined) context.addIssue({ code: 'custom', message });
          }),
        ),
        '**',
      ),
      'Which keys it is about: `*` is anything but "/", `**` anything, `?` one character, `{a,b}` either.',
    ),
    window: described(
      z
        .prefault(duration, '10m')
        .check(z.refine((ms) => ms >= 60_000 && ms <= 24 * hourMs, 'must be between 1m and 1d')),
      'Over how long is counted. A key counts once in each.',
    ),
    deletes: unlessOff(budget, 'Keys that users delete.'),
    overwrites: unlessOff(budget, 'Keys that users overwrite.'),
    entropy: unlessOff(entropy, 'Overwrites of plain bodies by noise, as encryption leaves it.'),
    renames: unlessOff(renames, 'Keys renamed to one extension that the dataset did not have.'),
  }),
  z.transform(
    ({ match, window, deletes, overwrites, entropy, renames }): DamageRule => ({
      match,
      windowMs: window,
      ...(deletes === 'off' ? {} : { deletes: budgetOf(deletes) }),
      ...(overwrites === 'off' ? {} : { overwrites: budgetOf(overwrites) }),
      ...(entropy === 'off' ? {} : { entropy: { keys: entropy.keys, share: entropy.percent / 100 } }),
      ...(renames === 'off' ? {} : { renames }),
    }),
  ),
);

function budgetOf({ keys, percent, sigma }: z.infer<typeof budget>): DamageBudget {
  return { keys, share: percent / 100, sigma };
}

export const damage = described(
  z
    .prefault(z.array(rule), [{}])
    .check(
      z.refine(
        (rules) => new Set(rules.map(({ match }) => match)).size === rules.length,
        'two rules have the same `match`',
      ),
    ),
  'Beyond these limits deletions and overwrites wait for a person, while creations go on: one rule for all keys unless you name others; `[]` turns it off. See [the damage guard](damage-guard.md).',
);

const unitBytes = { MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;
const sizeRule = 'must be a size, a whole number and a unit: 500MiB, 10GiB or 2TiB';

const size = z.pipe(
  z.string(sizeRule).check(z.regex(/^\d+(MiB|GiB|TiB)$/, sizeRule)),
  z.transform((value: string) => {
    const unit = value.slice(-3) as keyof typeof unitBytes;
    return Number.parseInt(value, 10) * unitBytes[unit];
  }),
);

export const keep = described(
  z.pipe(
    z._default(
      z.union([
        z.literal('off'),
        z.strictObject({
          for: described(z.prefault(duration, '24h'), 'For so long.'),
          bytes: described(z.prefault(size, '10GiB'), 'So many bytes at each site; the oldest go first.'),
        }),
      ]),
      'off',
    ),
    z.transform((given) => (given === 'off' ? undefined : { forMs: given.for, bytes: given.bytes })),
  ),
  'Keep what replication overwrites or removes below `.isobar/losers/` of that site, for `isobar undo`: `{ for: 24h, bytes: 10GiB }`. Costs a read and two writes each time.',
);
