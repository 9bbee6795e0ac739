import { isMerging, type RuleOf } from '../../model/policy.ts';
import { damagedId } from './bodies.ts';
import type { Act, History } from './history.ts';

// Written from docs/guarantees.md, apart from the code that it judges.

/** Every site shows what each of these left behind: they were the last, on a cluster at rest. */
export function expectEverywhere(history: History, acts: readonly Act[]): void {
  for (const site of history.sites) {
    const contents = history.contents(site);
    for (const { id, key, body } of acts) {
      const held = contents.get(key)?.ids.join();
      if (held !== (body === undefined ? undefined : id))
        history.violate(`${site} shows ${held ?? 'nothing'} for ${key}, where ${id} was the last`);
    }
  }
}

/** After everything has come to rest. */
export function judge(history: History, ruleOf: RuleOf): void {
  const standing = sameEverywhere(history);
  const final = new Set([...standing.values()].flatMap((ids) => [...ids]));
  const kept = history.kept();
  for (const id of final) {
    const act = history.acts.get(id);
    if (id === damagedId) history.violate('a body that nobody wrote stands at a site');
    // What two sides that never met do not both know to be gone, a merge may show again.
    // Beside its key, what lost stands as long as somebody wants it.
    else if (
      act &&
      standing.get(act.key)?.has(id) &&
      !isMerging(ruleOf(act.key)) &&
      history.surelyOverwritten(id)
    )
      history.violate(`${id} came back after it had been overwritten or deleted`);
  }
  for (const act of history.acts.values()) {
    const { id, key, kind } = act;
    if (act.body === undefined) continue;
    const wasThere = history.effective.has(id);
    if (act.acknowledged && !wasThere)
      history.violate(`${id} (${kind} of ${key}) was acknowledged and never stood anywhere`);
    const isThere = final.has(id) || kept.has(id);
    if (wasThere && !isThere && !act.overlapped && !history.overwritten(id))
      history.violate(`${id} (${kind} of ${key}) is lost: nobody wrote over it, and it is not kept`);
  }
}

/** Whose bodies stand under each of the users' keys. */
function sameEverywhere(history: History): Map<string, Set<string>> {
  const contents = history.sites.map((site) => history.contents(site));
  const keys = new Set(contents.flatMap((content) => [...content.keys()]));
  const standing = new Map<string, Set<string>>();
  for (const key of [...keys].sort()) {
    const held = contents.map((content) => content.get(key));
    standing.set(key, new Set(held.flatMap((one) => one?.ids ?? [])));
    if (new Set(held.map((one) => one?.all)).size === 1) continue;
    const each = history.sites.map(
      (site, i) => `${site}: ${held[i]?.ids ?? 'nothing'} ${held[i]?.all ?? ''}`,
    );
    history.violate(`${key} differs: ${each.join(', ')}`);
  }
  return standing;
}
