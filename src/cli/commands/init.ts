// biome-ignore-all lint/suspicious/noTemplateCurlyInString: goes into help and file as it is
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { collect } from '../arguments.ts';
import type { Context } from '../context.ts';
import { CliFailure, exitCodes, UsageFailure } from '../failure.ts';
import { mainFields, parseSite, renderConfig, type SiteDraft } from '../init-file.ts';
import type { Act } from '../program.ts';
import { Prompt } from '../prompt.ts';

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
    throw (failure as NodeJS.ErrnoException).code === 'EEXIST' ? alreadyThere(file) : failure;
  }
}

function alreadyThere(file: string): CliFailure {
  return new CliFailure(`${file} is already there`, {
    hint: 'name another with --config, or overwrite it with --force',
    exitCode: exitCodes.usage,
  });
}

interface Draft {
  readonly dataset: string;
  readonly sites: readonly SiteDraft[];
}

async function ask(context: Context, flags: InitFlags): Promise<Draft> {
  if (context.host.stdin.isTTY !== true) {
    throw new UsageFailure(
      'there is no terminal to ask questions on',
      'give at least two --site NAME=KIND:WHERE; see `isobar init --help`',
    );
  }
  const file = context.flags.config;
  if (flags.force !== true && existsSync(file)) throw alreadyThere(file);
  const prompt = new Prompt(context);
  try {
    const dataset =
      flags.dataset ??
      (await question(prompt, 'What is the dataset called?', { preset: 'data', wrong: await nameRule() }));
    const sites: SiteDraft[] = [];
    while (
      sites.length < 2 ||
      (await question(prompt, 'Another site? (y/n)', { preset: 'n' })).startsWith('y')
    ) {
      const taken = sites.map(({ name }) => name);
      sites.push(await askSite(prompt, taken));
    }
    return { dataset, sites };
  } finally {
    prompt.close();
  }
}

async function askSite(prompt: Prompt, taken: readonly string[]): Promise<SiteDraft> {
  const kind = await question(prompt, `Site ${taken.length + 1}: s3, gcs, azure or filesystem?`, {
    preset: 's3',
    wrong: (answer) => (Object.hasOwn(mainFields, answer) ? undefined : `there is no kind "${answer}"`),
  });
  const name = await question(prompt, 'Its name?', {
    preset: taken.includes(kind) ? `${kind}-${taken.length + 1}` : kind,
    wrong: await nameRule(taken),
  });
  const main = mainFields[kind]!;
  const given = new Map([[main, await question(prompt, `Its ${main}?`, { wrong: needed })]]);
  for (const { field, preset = '', meaning, wrong } of questions[kind] ?? []) {
    const text = `Its ${field}? (empty: ${meaning})`;
    const value = await question(prompt, text, { preset, wrong: (answer) => wrong?.(answer, given) });
    if (value !== '') given.set(field, value);
  }
  return { name, kind, fields: [...given] };
}

interface Question {
  readonly field: string;
  readonly preset?: string;
  /** Of an empty answer. */
  readonly meaning: string;
  readonly wrong?: (answer: string, given: ReadonlyMap<string, string>) => string | undefined;
}

/** What is asked beside the bucket, container or folder; all else has a default that works. */
const questions: Readonly<Record<string, readonly Question[]>> = {
  s3: [
    { field: 'endpoint', meaning: 'Amazon' },
    {
      field: 'region',
      meaning: 'us-east-1, for servers other than Amazon',
      wrong: (answer, given) =>
        answer === '' && !given.has('endpoint') ? 'Amazon needs it, such as eu-central-1' : undefined,
    },
  ],
  gcs: [{ field: 'keyFile', meaning: 'application default credentials' }],
  azure: [
    {
      field: 'connectionString',
      preset: '${AZURE_STORAGE_CONNECTION_STRING}',
      meaning: 'that variable',
    },
  ],
};

type Rule = (answer: string) => string | undefined;

const needed: Rule = (answer) => (answer === '' ? 'it is needed' : undefined);

async function nameRule(taken: readonly string[] = []): Promise<Rule> {
  const { name } = await import('../../config/values.ts');
  return (answer) =>
    taken.includes(answer)
      ? `"${answer}" is taken: two sites cannot have the same name`
      : name.safeParse(answer).error?.issues[0]?.message;
}

/** Asks until the answer will do; an empty one stands for the preset. */
async function question(
  prompt: Prompt,
  text: string,
  { preset = '', wrong }: { readonly preset?: string; readonly wrong?: Rule },
): Promise<string> {
  for (;;) {
    const answer = (await prompt.ask(preset === '' ? text : `${text} [${preset}]`)) || preset;
    const problem = wrong?.(answer);
    if (problem === undefined) return answer;
    prompt.complain(problem);
  }
}
