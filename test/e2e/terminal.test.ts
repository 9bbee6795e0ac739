// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is what is written
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { Place } from './place.ts';
import { keys, noTerminal, Terminal } from './terminal.ts';

// What a person types: questions, wrong answers, Ctrl-C and Ctrl-D.

const skip = noTerminal();
const { enter, ctrlC, ctrlD } = keys;

/** `isobar init` in a folder without a configuration. */
function init(t: TestContext, ...argv: readonly string[]): { terminal: Terminal; file: string } {
  const place = new Place(t);
  const file = join(place.folder, 'isobar.yaml');
  rmSync(file);
  return { terminal: open(t, place.folder, 'init', ...argv), file };
}

function open(t: TestContext, folder: string, ...argv: readonly string[]): Terminal {
  const terminal = new Terminal(folder, ...argv);
  t.after(() => terminal.kill());
  return terminal;
}

test('init asks, asks again after a wrong answer, and writes what it was told', { skip }, async (t) => {
  const { terminal, file } = init(t);
  const dialogue: readonly (readonly [RegExp, string])[] = [
    [/What is the dataset called\? \[data\]/, 'My Photos'],
    [/a name begins with a lower-case letter.*What is the dataset called\?/s, 'photos'],
    [/Site 1: s3, gcs, azure or filesystem\?/, 'floppy'],
    [/no kind "floppy".*Site 1:/s, 'filesystem'],
    [/Its name\? \[filesystem\]/, 'disk'],
    [/Its path\?/, ''],
    [/it is needed.*Its path\?/s, './copy'],
    [/Site 2:/, ''],
    [/Its name\? \[s3\]/, 'disk'],
    [/"disk" is taken.*Its name\?/s, ''],
    [/Its bucket\?/, 'my-bucket'],
    [/Its endpoint\? \(empty: Amazon\)/, ''],
    [/Its region\?/, ''],
    [/Amazon needs it.*Its region\?/s, 'eu-central-1'],
    [/Another site\? \(y\/n\) \[n\]/, 'y'],
    [/Site 3:/, 'azure'],
    [/Its name\? \[azure\]/, ''],
    [/Its container\?/, 'photos'],
    [/Its connectionString\?/, ''],
    [/Another site\?/, ''],
  ];
  for (const [question, answer] of dialogue) await terminal.answer(question, `${answer}${enter}`);
  assert.equal(await terminal.ended(), 0, terminal.shown);
  assert.match(terminal.latest, /isobar\.yaml is written; next: `isobar doctor`/);
  const variables = { AZURE_STORAGE_CONNECTION_STRING: 'AccountName=abc;AccountKey=c2VjcmV0' };
  const { sites, datasets } = parseConfig(readFileSync(file, 'utf8'), file, variables);
  assert.deepEqual(datasets['photos']?.sites, ['disk', 's3', 'azure']);
  const { disk, s3, azure } = sites;
  assert.ok(disk?.kind === 'filesystem' && s3?.kind === 's3' && azure?.kind === 'azure');
  assert.deepEqual([s3.bucket, s3.region, azure.container], ['my-bucket', 'eu-central-1', 'photos']);
});

test('Ctrl-C at any question of init: 130, and there is no file', { skip }, async (t) => {
  const dialogue: readonly (readonly [RegExp, string])[] = [
    [/called\?/, 'photos'],
    [/Site 1:/, 'filesystem'],
    [/Its name\?/, 'one'],
    [/Its path\?/, './a'],
  ];
  for (const length of [0, 1, 3]) {
    const { terminal, file } = init(t);
    for (const [question, answer] of dialogue.slice(0, length))
      await terminal.answer(question, `${answer}${enter}`);
    await terminal.answer(dialogue[length]![0], ctrlC);
    assert.equal(await terminal.ended(), 130, terminal.shown);
    assert.match(terminal.latest, /isobar: stopped/);
    assert.ok(!existsSync(file));
  }
});

test('Ctrl-D leaves a question unanswered: 1, and nothing was done', { skip }, async (t) => {
  const { terminal, file } = init(t);
  await terminal.answer(/called\?/, ctrlD);
  assert.equal(await terminal.ended(), 1, terminal.shown);
  assert.match(terminal.latest, /isobar: the question was not answered; nothing was done/);
  assert.doesNotMatch(terminal.shown, /unexpected failure/);
  assert.ok(!existsSync(file));
});

test('init asks nothing where there is a file already, and leaves it', { skip }, async (t) => {
  const place = new Place(t);
  const before = readFileSync(join(place.folder, 'isobar.yaml'), 'utf8');
  const terminal = open(t, place.folder, 'init');
  assert.equal(await terminal.ended(), 2, terminal.shown);
  assert.match(terminal.shown, /isobar\.yaml is already there.*--force/s);
  assert.doesNotMatch(terminal.shown, /\?/);
  assert.equal(readFileSync(join(place.folder, 'isobar.yaml'), 'utf8'), before);
});

test('parked drop asks: Ctrl-C is 130, and anything but yes does nothing', { skip }, async (t) => {
  const place = new Place(t);
  const outcomes: readonly (readonly [string, number, RegExp])[] = [
    [ctrlC, 130, /isobar: stopped/],
    [ctrlD, 1, /not answered; nothing was done/],
    [enter, 1, /isobar: nothing was done/],
    [`n${enter}`, 1, /isobar: nothing was done/],
    [`y${enter}`, 1, /nothing is parked as b\/k/],
  ];
  for (const [typed, code, message] of outcomes) {
    const terminal = open(t, place.folder, 'parked', 'drop', 'd', 'b/k');
    await terminal.answer(/Give up 1 change\? \[y\/N\]/, typed);
    assert.equal(await terminal.ended(), code, terminal.shown);
    assert.match(terminal.latest, message);
    assert.doesNotMatch(terminal.shown, /unexpected failure/);
  }
});
