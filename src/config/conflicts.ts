import { isAbsolute, resolve } from 'node:path';
import * as z from 'zod/mini';
import { typedPaths } from '../merging/crdt/types.ts';
import { patternProblem } from '../model/pattern.ts';
import { type ConflictRule, type Conflicts, crdtTypes } from '../model/policy.ts';
import type { ConfigDocument, Path } from './document.ts';
import { closest } from './problems.ts';
import { described, duration, endpoint, text } from './values.ts';

/** `conflicts`: what becomes of writes that were made without knowing of each other. */

const words = ['last-writer-wins', 'keep-both', 'merge-json'] as const;

const ruleText =
  'must be `last-writer-wins`, `{ prefer: SITE }`, `keep-both`, `merge-json`, `{ crdt: { "/path": counter } }` or `{ hook: { url: … } }`';

const prefer = z.strictObject({
  prefer: described(
    text,
    'A write at this site wins, and what was written on top of it; otherwise the last.',
  ),
});

const crdt = z.strictObject({
  crdt: described(
    z.union([z.literal('yjs'), z.record(z.string(), z.enum(crdtTypes))], {
      error: `must be \`yjs\`, or map JSON pointers to ${crdtTypes.join(', ')}`,
    }),
    '`yjs` for documents of Yjs, or for JSON what stands where, by JSON pointer; a segment `*` is any key.',
  ),
});

const hook = z.strictObject({
  hook: described(
    z.pipe(
      z.strictObject({
        url: described(z.optional(endpoint), 'An HTTP endpoint, asked by POST.'),
        module: described(
          z.optional(text),
          'A JavaScript module, relative to the file; its default export is asked.',
        ),
        timeout: described(
          z
            .prefault(duration, '10s')
            .check(z.refine((ms) => ms >= 100 && ms <= 300_000, 'must be between 100ms and 5m')),
          'Of one try; there are three.',
        ),
      }),
      z.transform(({ url, module, timeout }) => ({
        ...(url === undefined ? {} : { url }),
        ...(module === undefined ? {} : { module }),
        timeoutMs: timeout,
      })),
    ),
    'A program of yours decides: either `url` or `module`.',
  ),
});

const pattern = z.string().check(
  z.superRefine((value, context) => {
    const message = patternProblem(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  }),
);

const rules = [described(z.enum(words), 'One rule for all keys.'), prefer, crdt, hook] as const;

const choice = z.strictObject({
  match: described(
    pattern,
    'Which keys it is about: `*` is anything but "/", `**` anything, `?` one character, `{a,b}` either.',
  ),
  rule: described(z.union(rules, { error: ruleText }), 'As `conflicts` for one rule.'),
});

export const conflicts = described(
  z.prefault(
    z.union([...rules, z.array(choice)], { error: `${ruleText}, or a list of \`{ match, rule }\`` }),
    'last-writer-wins',
  ),
  'Which of two concurrent writes wins, or how they become one: a rule for all keys, or a list of `{ match, rule }` of which the first that matches decides (the last writer wins where none does). The loser is kept and listed. See [conflicts](conflicts.md).',
);

/** What a schema cannot say of the rules of one dataset. */
export function checkConflicts(
  path: Path,
  given: Conflicts,
  sites: readonly string[],
  document: ConfigDocument,
): void {
  if (!Array.isArray(given)) {
    checkRule(path, given as ConflictRule, sites, document);
    return;
  }
  const choices = given as Exclude<Conflicts, ConflictRule>;
  for (const [index, { match, rule }] of choices.entries()) {
    checkRule([...path, index, 'rule'], rule, sites, document);
    const earlier = choices.findIndex((other) => other.match === match || other.match === '**');
    if (earlier >= index) continue;
    document.report([...path, index, 'match'], `no key ever comes to \`${match}\``, {
      hint: `\`${choices[earlier]!.match}\` stands before it and matches them all: the first rule that matches decides`,
    });
  }
}

function checkRule(path: Path, rule: ConflictRule, sites: readonly string[], document: ConfigDocument): void {
  if (typeof rule === 'string') return;
  if ('prefer' in rule && !sites.includes(rule.prefer)) {
    const similar = closest(rule.prefer, sites);
    const meant = similar === undefined ? '' : `did you mean \`${similar}\`? `;
    document.report(
      [...path, 'prefer'],
      `the dataset has no site \`${rule.prefer}\` that could be preferred`,
      {
        hint: `${meant}its sites are ${sites.join(', ')}`,
      },
    );
  } else if ('crdt' in rule && rule.crdt !== 'yjs') {
    const problem = pathProblem(rule.crdt);
    if (problem !== undefined)
      document.report([...path, 'crdt'], `\`${[...path, 'crdt'].join('.')}\`: ${problem}`, {
        hint: 'a path is a JSON pointer such as "/likes" or "/stats/*"',
      });
  } else if ('hook' in rule && (rule.hook.url === undefined) === (rule.hook.module === undefined)) {
    document.report(
      [...path, 'hook'],
      `\`${[...path, 'hook'].join('.')}\` needs either \`url\` or \`module\``,
      {
        hint: '`url` for an HTTP endpoint, `module` for a JavaScript file',
      },
    );
  }
}

function pathProblem(types: Parameters<typeof typedPaths>[0]): string | undefined {
  if (Object.keys(types).length === 0) return 'it names no path; `merge-json` merges without';
  try {
    typedPaths(types);
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  }
}

/** With modules found from the folder of the file. */
export function settledConflicts(given: Conflicts, folder: string): Conflicts {
  if (Array.isArray(given)) return given.map((one) => ({ ...one, rule: settledRule(one.rule, folder) }));
  return settledRule(given as ConflictRule, folder);
}

function settledRule(rule: ConflictRule, folder: string): ConflictRule {
  if (typeof rule === 'string' || !('hook' in rule) || rule.hook.module === undefined) return rule;
  const { module } = rule.hook;
  return { hook: { ...rule.hook, module: isAbsolute(module) ? module : resolve(folder, module) } };
}

/** In the words of the file. */
export function conflictsShape(given: Conflicts, durationText: (ms: number) => string): unknown {
  if (Array.isArray(given))
    return given.map((one) => ({ ...one, rule: conflictsShape(one.rule, durationText) }));
  const rule = given as ConflictRule;
  if (typeof rule === 'string' || !('hook' in rule)) return rule;
  const { timeoutMs, ...asked } = rule.hook;
  return { hook: { ...asked, timeout: durationText(timeoutMs) } };
}
