import type { Command } from 'commander';
import { redact } from '../../config/secret.ts';
import type { ParkedAnswer, ParkedChange } from '../api.ts';
import { datasetNamed, datasetNames } from '../arguments.ts';
import type { Context } from '../context.ts';
import { CliFailure, exitCodes, UsageFailure } from '../failure.ts';
import type { Act } from '../program.ts';
import { Prompt } from '../prompt.ts';
import { bytesText, countText, printable, timeText } from '../text.ts';

export function parked(program: Command, act: Act): void {
  const group = program
    .command('parked')
    .summary('changes that wait for a person: ls, retry, drop')
    .description(
      'Changes that no retry can mend, and deletions that a guard holds back. Nothing is ever dropped by itself.',
    );
  addLs(group, act);
  addRetry(group, act);
  addDrop(group, act);
}

function addLs(group: Command, act: Act): void {
  group
    .command('ls')
    .description('Lists what is parked, with its id and the reason.')
    .argument('[dataset...]', 'all, when left out')
    .action(
      act(async (context, given: readonly string[]) => {
        let count = 0;
        for (const name of await datasetNames(context, given)) {
          const dataset = await datasetNamed(context, name);
          for await (const change of dataset.parked(AbortSignal.any([context.signal, context.output.gone]))) {
            count += 1;
            await context.output.line(lineOf(change));
            await context.output.json('parked', change);
          }
        }
        if (count === 0) context.output.say('nothing is parked');
      }),
    );
}

function lineOf({ dataset, id, reason, detail, sinceMs, keys, bytes }: ParkedChange): string {
  const many = keys > 1 ? `, ${countText(keys, 'key')}` : '';
  return `${dataset}  ${id}  ${reason}: ${printable(redact(detail))}  (since ${timeText(sinceMs)}${many}, ${bytesText(bytes)})`;
}

function addRetry(group: Command, act: Act): void {
  group
    .command('retry')
    .description('Tries parked changes again, and releases deletions that a guard holds back.')
    .argument('<dataset>')
    .argument('[id...]', 'as `parked ls` prints them')
    .option('--all', 'everything that is parked in the dataset')
    .action(
      act(async (context, name: string, ids: readonly string[], flags: { readonly all?: true }) => {
        if ((ids.length === 0) === (flags.all !== true))
          throw new UsageFailure('give either ids or --all', '`isobar parked ls` prints the ids');
        const dataset = await datasetNamed(context, name);
        return answer(
          await dataset.retryParked(flags.all ? undefined : ids, context.signal),
          'tried again',
          context,
        );
      }),
    );
}

function addDrop(group: Command, act: Act): void {
  group
    .command('drop')
    .description('Gives parked changes up: the sites stay different until the key is written again.')
    .argument('<dataset>')
    .argument('<id...>', 'as `parked ls` prints them')
    .option('-y, --yes', 'do not ask')
    .action(
      act(async (context, name: string, ids: readonly string[], flags: { readonly yes?: true }) => {
        const dataset = await datasetNamed(context, name);
        if (flags.yes !== true) await confirm(context, `Give up ${countText(ids.length, 'change')}?`);
        return answer(await dataset.dropParked(ids, context.signal), 'dropped', context);
      }),
    );
}

export async function confirm(context: Context, question: string): Promise<void> {
  if (context.host.stdin.isTTY !== true)
    throw new UsageFailure('this needs a yes, and there is no terminal to ask on', 'add --yes');
  const prompt = new Prompt(context);
  try {
    const given = await prompt.ask(`${question} [y/N]`);
    if (!/^y(es)?$/i.test(given)) throw new CliFailure('nothing was done');
  } finally {
    prompt.close();
  }
}

async function answer(result: ParkedAnswer, what: string, { output }: Context): Promise<number> {
  output.say(`${countText(result.done.length, 'change')} ${what}`);
  for (const id of result.unknown)
    output.warn(`nothing is parked as ${id}; \`isobar parked ls\` prints the ids`);
  await output.json('parked-answer', result);
  return result.unknown.length > 0 ? exitCodes.failed : exitCodes.done;
}
