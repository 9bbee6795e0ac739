import type { Command } from 'commander';
import { checkedKey, datasetNamed } from '../arguments.ts';
import type { Act } from '../program.ts';
import { printable } from '../text.ts';

export function rm(program: Command, act: Act): void {
  program
    .command('rm')
    .summary('delete objects everywhere')
    .description('Deletes objects by the policy of the dataset. A key that is already absent is no failure.')
    .argument('<dataset>')
    .argument('<key...>')
    .addHelpText('after', '\nExamples:\n  isobar rm photos 2026/cat.png\n  isobar rm photos -- -odd-key')
    .action(
      act(async (context, name: string, keys: readonly string[]) => {
        const { output, signal } = context;
        keys.forEach(checkedKey);
        const dataset = await datasetNamed(context, name);
        for (const key of keys) {
          const result = await dataset.remove(key, signal);
          const sites = result.sites.filter(({ outcome }) => outcome === 'durable').map(({ site }) => site);
          output.say(
            result.removed
              ? `${printable(key)} is deleted at ${sites.join(', ')}`
              : `there was no ${printable(key)}`,
          );
          await output.json('rm', result);
        }
      }),
    );
}
