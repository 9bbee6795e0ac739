import { isMerging, type RuleOf } from '../../model/policy.ts';

/** A body that no user wrote: damaged on the way. */
export const damagedId = '?';

/** JSON where two may become one: then every act is a field of its own, and a merge shows whose it holds. */
export function bodyOf(id: string, key: string, padding: number, ruleOf: RuleOf): string {
  if (isMerging(ruleOf(key))) return JSON.stringify({ made: { [id]: padding }, last: id });
  return `${id} ${key} ${'.'.repeat(padding)}`;
}

/** Whose acts stand in a document that was merged; undefined when it is none. */
export function idsInMerge(body: string): string[] | undefined {
  try {
    const { made } = JSON.parse(body) as { readonly made?: Readonly<Record<string, unknown>> };
    return made && Object.keys(made).sort();
  } catch {
    return undefined;
  }
}
