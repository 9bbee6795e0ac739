import { existsSync } from 'node:fs';
import type { Config } from '../config/index.ts';
import { Records } from '../replicate/records.ts';
import type { SiteCheck } from './checks.ts';
import type { State } from './open.ts';

/** What a damage guard holds back; nothing where no state was ever made. */
export async function checkGuards(
  config: Config,
  sites: readonly string[],
  openState: () => Promise<State>,
  report: (check: SiteCheck) => void,
): Promise<void> {
  if (!existsSync(config.state)) return;
  const { ledger } = await openState();
  for (const dataset of Object.keys(config.datasets)) {
    for await (const page of new Records(ledger, dataset).parked()) {
      for (const { id, site, reason, detail } of page) {
        if (reason !== 'damage' || !sites.includes(site)) continue;
        const remedy = `if it was meant: isobar parked retry ${dataset} ${id}; if not: isobar undo ${dataset} --since TIME first`;
        report({ site, check: 'damage-guard', status: 'warning', detail: `${dataset}: ${detail}`, remedy });
      }
    }
  }
}
