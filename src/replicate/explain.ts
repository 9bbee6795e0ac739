import { newestOf } from '../decide/resolve.ts';
import type { KeyRecord } from '../model/record.ts';
import type { SiteId } from '../model/version.ts';
import type { Ledger } from '../ports/ledger.ts';
import { lookAgain } from './observe.ts';
import { onlooker } from './onlooker.ts';
import { type Debt, type Loser, type Parked, parkedId } from './records.ts';
import type { Shell } from './shell.ts';

export interface Explained {
  /** As the sites are now; nothing of it has been adopted. */
  readonly record: KeyRecord;
  readonly newestAt: readonly SiteId[];
  /** Sites that could not be asked, and why: the record says what was known of them. */
  readonly errors: Readonly<Record<SiteId, string>>;
  readonly debts: readonly Debt[];
  readonly parked: readonly Parked[];
  readonly losers: readonly Loser[];
}

/** Every site's version of the key as it is now, and what stands against it. Changes nothing. */
export async function explain(
  shell: Shell,
  ledger: Ledger,
  key: string,
  signal: AbortSignal,
): Promise<Explained> {
  const { records, policy } = shell;
  const looking = onlooker(shell, ledger);
  const errors: Record<SiteId, string> = {};
  for (const site of policy.sites) {
    await lookAgain(looking, site, key, signal).catch((error: Error) => {
      signal.throwIfAborted();
      errors[site] = error.message;
    });
  }
  const record = await looking.records.read(key);
  const debts = await Promise.all(policy.sites.map((site) => records.debtOf(site, key)));
  const parked = await Promise.all(policy.sites.map((site) => records.parkedBy(parkedId(site, key))));
  return {
    record,
    newestAt: newestOf(record, shell.ruleOf)?.sites ?? [],
    errors,
    debts: debts.filter((debt) => debt !== undefined),
    parked: parked.filter((one) => one !== undefined),
    losers: await losersOf(shell, key),
  };
}

async function losersOf({ records }: Shell, key: string): Promise<Loser[]> {
  const found: Loser[] = [];
  for await (const page of records.losers()) found.push(...page.filter((loser) => loser.key === key));
  return found;
}
