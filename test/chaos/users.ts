import type { Asked } from './accounts.ts';

/** What users of Isobar tried, and what they were told. */
export class Users {
  readonly #open = new Map<string, Omit<Asked, 'toMs' | 'unanswered'>>();
  readonly asked: Asked[] = [];
  /** Bodies. */
  readonly acknowledged = new Set<string>();
  /** Acknowledged, removals among them. */
  done = 0;
  failed = 0;

  get tried(): number {
    return this.asked.length + this.#open.size;
  }

  /** A line of `convergence-user.ts`. */
  said(line: string): void {
    const [verb, id = '', ...rest] = line.split(' ');
    if (verb === 'try') {
      const [key = '', how] = rest;
      this.#open.set(id, { id, key, isRemoval: how === 'remove', fromMs: Date.now() });
      return;
    }
    if (verb === 'ack' && this.#open.get(id)?.isRemoval === false) this.acknowledged.add(id);
    if (verb === 'ack') this.done += 1;
    else this.failed += 1;
    const outcomes = (rest[0] ?? '').split(',').map((outcome) => outcome.split(':'));
    this.#close(
      id,
      outcomes.flatMap(([site = '', outcome]) => (outcome === 'unknown' ? [site] : [])),
    );
  }

  /** Nobody was told anything of what was under way: any of the sites may have been asked. */
  killed(sites: readonly string[]): void {
    for (const id of [...this.#open.keys()]) this.#close(id, sites);
  }

  #close(id: string, unanswered: readonly string[]): void {
    const open = this.#open.get(id);
    this.#open.delete(id);
    if (open) this.asked.push({ ...open, toMs: Date.now(), unanswered });
  }
}
