import type { Command } from 'commander';
import { datasetNames } from '../arguments.ts';
import { exitCodes, Interrupted } from '../failure.ts';
import type { Act } from '../program.ts';

export function run(program: Command, act: Act): void {
  program
    .command('run')
    .summary('the daemon: watches and replicates continuously')
    .description(
      'Replicates until it is told to stop, and serves /livez, /readyz and Prometheus /metrics. On SIGTERM it\n' +
        'finishes or hands back what is in flight, and ends with 0.',
    )
    .argument('[dataset...]', 'all, when left out')
    .addHelpText('after', '\nExample:\n  isobar run --config /etc/isobar/isobar.yaml')
    .action(
      act(async (context, given: readonly string[]) => {
        const { output, signal } = context;
        const datasets = await datasetNames(context, given);
        const isobar = await context.isobar();
        let listening: Promise<void> | undefined;
        try {
          await isobar.run(
            {
              datasets,
              ready: (ready) => {
                output.say(`replicating ${ready.datasets.join(', ')}; ${ready.url}/metrics`);
                for (const url of ready.sources) output.say(`notifications are taken at ${url}`);
                listening = output.json('ready', ready);
              },
            },
            signal,
          );
        } catch (failure) {
          if (!stoppedAsAsked(signal)) throw failure;
        }
        await listening;
        return exitCodes.done;
      }),
    );
}

/** SIGTERM is how a daemon ends; Ctrl-C is told apart by `program.ts`. */
function stoppedAsAsked(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason instanceof Interrupted;
}
