// biome-ignore-all lint/suspicious/noTemplateCurlyInString: goes into help and file as it is
import { writeFile } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline/promises';
import type { Command } from 'commander';
import { collect } from '../arguments.ts';
import type { Context } from '../context.ts';
import { CliFailure, exitCodes, UsageFailure } from '../failure.ts';
import { mainFields, parseSite, renderConfig, type SiteDraft } from '../init-file.ts';
import type { Act } from '../program.ts';

interface InitFlags {
  readonly site?: readonly string[];
  readonly dataset?: string;
  readonly force?: true;
}

export function init(program: Command, act: Act): void {
  program
    .command('init')
    .summary('write an isobar.yaml to begin with')
    .description('Asks a few questions, or takes the answers as flags, and writes a commented configuration.')
    .option(
      '--site <name=kind:where>',
      'a site, such as aws=s3:my-bucket,region=eu-central-1; repeat it',
      collect,
    )
    .option('--dataset <name>', 'the name of the dataset (default: data)')
    .option('-f, --force', 'overwrite a file that is there')
    .addHelpText(
      'after',
      '\nA site is NAME=KIND:WHERE[,FIELD=VALUE...]; KIND is s3, gcs, azure or filesystem, WHERE the bucket, container\n' +
        "or folder, and FIELD any field of docs/configuration.md. Give secrets as '${VARIABLE}'.\n\n" +
        'Examples:\n  isobar init\n' +
        '  isobar init --dataset photos --site aws=s3:photos,region=eu-central-1 --site gcp=gcs:photos-gcp \\\n' +
        "    --site 'azure=azure:photos,connectionString=${AZURE_STORAGE_CONNECTION_STRING}'\n" +
        '  isobar init --site a=filesystem:./a --site b=filesystem:./b',
    )
    .action(
      act(async (context, flags: InitFlags) => {
        const draft =
          flags.site === undefined
            ? await ask(context, flags)
            : { dataset: flags.dataset ?? 'data', sites: flags.site.map(parseSite) };
        const text = renderConfig(draft.dataset, draft.sites);
        await check(text, context.flags.config);
        await write(context.flags.config, text, flags.force === true);
        context.output.say(
          `${context.flags.config} is written; next: \`isobar doctor\`, then \`isobar sync ${draft.dataset} --dry-run\``,
        );
        await context.output.json('init', {
          file: context.flags.config,
          dataset: draft.dataset,
          sites: draft.sites.map(({ name }) => name),
        });
      }),
    );
}

/** What is written is valid for any values of the variables that it names. */
async function check(text: string, file: string): Promise<void> {
  const { parseConfig } = await import('../../config/load.ts');
  const names = [...text.matchAll(/\$\{(\w+)/g)].map((match) => match[1]!);
  parseConfig(text, file, Object.fromEntries(names.map((name) => [name, 'value'])));
}

async function write(file: string, text: string, force: boolean): Promise<void> {
  try {
    await writeFile(file, text, { flag: force ? 'w' : 'wx', mode: 0o600 });
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code !== 'EEXIST') throw failure;
    throw new CliFailure(`${file} is already there`, {
      hint: 'name another with --config, or overwrite it with --force',
      exitCode: exitCodes.usage,
      cause: failure,
    });
  }
}

interface Draft {
  readonly dataset: string;
  readonly sites: readonly SiteDraft[];
}

async function ask(context: Context, flags: InitFlags): Promise<Draft> {
  const { host, signal } = context;
  if (host.stdin.isTTY !== true) {
    throw new UsageFailure(
      'there is no terminal to ask questions on',
      'give at least two --site NAME=KIND:WHERE; see `isobar init --help`',
    );
  }
  const prompt = createInterface({
    input: host.stdin as NodeJS.ReadStream,
    output: host.stderr as NodeJS.WriteStream,
  });
  // Ctrl-C reaches the prompt, not the process, while it reads a terminal in raw mode.
  prompt.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  try {
    const dataset = flags.dataset ?? (await question(prompt, 'What is the dataset called?', 'data', signal));
    const sites: SiteDraft[] = [];
    while (sites.length < 2 || (await question(prompt, 'Another site? (y/n)', 'n', signal)).startsWith('y')) {
      sites.push(await askSite(prompt, sites.length + 1, signal));
    }
    return { dataset, sites };
  } finally {
    prompt.close();
  }
}

async function askSite(prompt: Interface, number: number, signal: AbortSignal): Promise<SiteDraft> {
  for (;;) {
    const kind = await question(prompt, `Site ${number}: s3, gcs, azure or filesystem?`, 's3', signal);
    const main = mainFields[kind];
    if (main === undefined) continue;
    const name = await question(prompt, 'Its name?', kind, signal);
    const fields: [string, string][] = [[main, await question(prompt, `Its ${main}?`, '', signal)]];
    for (const [field, preset] of Object.entries(questions[kind] ?? {})) {
      const value = await question(prompt, `Its ${field}? (empty: ${preset.meaning})`, preset.value, signal);
      if (value !== '') fields.push([field, value]);
    }
    return { name, kind, fields };
  }
}

/** What is asked beside the bucket, container or folder; all else has a default that works. */
const questions: Readonly<
  Record<string, Readonly<Record<string, { readonly value: string; readonly meaning: string }>>>
> = {
  s3: {
    endpoint: { value: '', meaning: 'Amazon' },
    region: { value: '', meaning: 'us-east-1, for servers other than Amazon' },
  },
  gcs: { keyFile: { value: '', meaning: 'application default credentials' } },
  azure: {
    connectionString: { value: '${AZURE_STORAGE_CONNECTION_STRING}', meaning: 'that variable' },
  },
};

async function question(
  prompt: Interface,
  text: string,
  preset: string,
  signal: AbortSignal,
): Promise<string> {
  for (;;) {
    const shown = preset === '' ? '' : ` [${preset}]`;
    const answer = (await prompt.question(`${text}${shown} `, { signal })).trim();
    if (answer !== '' || preset !== '' || text.includes('(empty:')) return answer === '' ? preset : answer;
  }
}
