import type { Act } from './recorder.ts';

/** What every body that somebody wrote came to. Counts of bodies. */
export interface Accounts {
  /** Stands under its key at every site. */
  readonly current: number;
  /** Lost a conflict, is kept and listed. */
  readonly kept: number;
  /** Somebody wrote over it, or deleted it, at a site where it stood. */
  readonly overwritten: number;
  /**
   * A write through Isobar was to replace it, got no answer there, and took effect at another site: it then counts as
   * written over both (docs/guarantees.md).
   */
  readonly addressed: number;
  /** None of these: violations. */
  readonly lost: readonly string[];
  /**
   * Current although somebody had written over it, or deleted it, at a site where it stood: Isobar had not yet heard
   * that it stood there, and took that act for one beside it.
   */
  readonly overtaken: readonly string[];
}

/** A write through Isobar. */
export interface Asked {
  readonly id: string;
  readonly key: string;
  readonly isRemoval: boolean;
  readonly fromMs: number;
  /** When its caller was told what became of it, or was killed. */
  readonly toMs: number;
  /** Sites that were, or may have been, asked and gave no answer. */
  readonly unanswered: readonly string[];
}

export interface Outcome {
  /** As the servers took them; of one key at one site in their order. */
  readonly acts: readonly Act[];
  readonly asked: readonly Asked[];
  /** The body under each key that is not absent. */
  readonly current: ReadonlyMap<string, string>;
  readonly kept: ReadonlySet<string>;
}

/**
 * One rule: a body ends only by the hand of somebody who wrote over it. What Isobar itself replaces or removes must
 * stand elsewhere, be kept, or have ended so at another site.
 */
export function accountFor({ acts, asked, current, kept }: Outcome): Accounts {
  const written = acts.flatMap(({ actor, body }) => (actor !== 'worker' && body ? [body] : []));
  const ended = new Set(
    acts.flatMap(({ actor, replaced }) => (actor !== 'worker' && replaced ? [replaced] : [])),
  );
  const addressed = new Set(asked.flatMap((one) => (tookEffect(one, acts) ? standingAt(one, acts) : [])));
  const standing = new Set(current.values());
  const counts = { current: 0, kept: 0, overwritten: 0, addressed: 0 };
  const lost: string[] = [];
  for (const body of new Set(written)) {
    if (standing.has(body)) counts.current += 1;
    else if (kept.has(body)) counts.kept += 1;
    else if (ended.has(body)) counts.overwritten += 1;
    else if (addressed.has(body)) counts.addressed += 1;
    else lost.push(body);
  }
  const overtaken = [...standing].filter((body) => ended.has(body));
  return { ...counts, lost, overtaken };
}

function tookEffect({ id, key, isRemoval, fromMs, toMs }: Asked, acts: readonly Act[]): boolean {
  return acts.some((act) =>
    isRemoval
      ? act.actor === 'user' && act.key === key && !act.body && act.atMs >= fromMs && act.atMs <= toMs
      : act.body === id,
  );
}

/** What stood at the sites that gave no answer while they were asked. */
function standingAt({ key, unanswered, fromMs, toMs }: Asked, acts: readonly Act[]): string[] {
  return unanswered.flatMap((site) => {
    const there = acts.filter((act) => act.key === key && act.site === site);
    const last = there.findLast((act) => act.atMs < fromMs)?.body;
    const during = there.filter((act) => act.atMs >= fromMs && act.atMs <= toMs);
    return [last, ...during.map(({ body }) => body)].filter((body) => body !== undefined);
  });
}
