import type { Command } from 'commander';
import type { Act } from '../program.ts';
import { countText } from '../text.ts';

export function config(program: Command, act: Act): void {
  const group = program
    .command('config')
    .summary('check, show or describe the configuration')
    .description('The configuration file: docs/configuration.md describes every field.');
  group
    .command('schema')
    .description('Prints the JSON Schema of the file, for editors.')
    .addHelpText('after', '\nExample:\n  isobar config schema > isobar.schema.json')
    .action(
      act(async ({ output }) => {
        const { jsonSchema } = await import('../../config/reference.ts');
        const schema = jsonSchema();
        await output.document(
          `${output.settings.json ? JSON.stringify(schema) : JSON.stringify(schema, null, 2)}\n`,
        );
      }),
    );
  group
    .command('check')
    .description('Checks the file as every command does, and asks no site: `isobar doctor` does that.')
    .action(
      act(async (context) => {
        const { datasets, sites, file } = await context.config();
        const counts = { file, sites: Object.keys(sites).length, datasets: Object.keys(datasets).length };
        context.output.say(
          `${file} is sound: ${countText(counts.datasets, 'dataset')} over ${countText(counts.sites, 'site')}`,
        );
        await context.output.json('config-check', counts);
      }),
    );
  group
    .command('show')
    .description(
      'Prints the configuration as it is understood: with defaults and absolute paths, without secrets.',
    )
    .action(
      act(async (context) => {
        const config = await context.config();
        const [{ fileShape }, { stringify }] = await Promise.all([
          import('../../config/show.ts'),
          import('yaml'),
        ]);
        const { file } = config;
        const plain = fileShape(config);
        if (context.output.settings.json) await context.output.json('config', { file, ...plain });
        else await context.output.document(`# ${file}\n${stringify(plain)}`);
      }),
    );
}
