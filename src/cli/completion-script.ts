import type { Command, Option } from 'commander';

/** One command with what may follow it; `path` is empty for the program itself. */
interface Entry {
  readonly path: readonly string[];
  readonly about: string;
  readonly commands: readonly Command[];
  readonly options: readonly Option[];
  /** Fixed words that the first argument may be. */
  readonly choices: readonly string[];
}

/** Flags after which a file is expected. */
const fileFlags = ['--config', '-c', '--output', '-o'];

export function completionScript(program: Command, shell: 'bash' | 'zsh' | 'fish'): string {
  const entries = entriesOf(program, [], []);
  if (shell === 'fish') return fish(entries);
  return shell === 'bash'
    ? bash(entries)
    : `#compdef isobar\nautoload -U +X bashcompinit && bashcompinit\n${bash(entries)}`;
}

function entriesOf(command: Command, path: readonly string[], inherited: readonly Option[]): Entry[] {
  const options = [...command.options, ...inherited];
  const commands = command.commands.filter((child) => child.name() !== 'help');
  const choices = command.registeredArguments[0]?.argChoices ?? [];
  const own = { path, about: command.summary() || command.description(), commands, options, choices };
  return [own, ...commands.flatMap((child) => entriesOf(child, [...path, child.name()], options))];
}

function flagsOf({ options }: Entry): string[] {
  const flags = options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined);
  return [...new Set([...flags, '-h', '--help'])];
}

/** The longest command path among the words so far decides what may follow. */
function bash(entries: readonly Entry[]): string {
  const cases = entries.map((entry) => {
    const words = [...entry.commands.map((child) => child.name()), ...entry.choices];
    return `    '${entry.path.join(' ')}') words='${words.join(' ')}'; flags='${flagsOf(entry).join(' ')}' ;;`;
  });
  const paths = entries.filter(({ path }) => path.length > 0).map(({ path }) => `'${path.join(' ')}'`);
  return `# isobar completion
_isobar() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local path='' word words flags index
  case "$previous" in
    ${fileFlags.join('|')}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "\${path:+$path }$word" in
      ${paths.join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *)
      COMPREPLY=($(compgen -W "$words" -- "$current"))
      if [ "$path" = put ]; then COMPREPLY+=($(compgen -f -- "$current")); fi ;;
  esac
}
complete -F _isobar isobar
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = ['# isobar completion', 'complete -c isobar -f'];
  for (const entry of entries) {
    const condition = `-n '${fishCondition(entry)}'`;
    for (const child of entry.commands) {
      lines.push(
        `complete -c isobar ${condition} -a ${child.name()} -d ${quoted(child.summary() || child.description())}`,
      );
    }
    for (const choice of entry.choices) lines.push(`complete -c isobar ${condition} -a ${choice}`);
    for (const option of ownOptions(entry, entries))
      lines.push(`complete -c isobar ${fishOption(entry, option)}`);
  }
  lines.push("complete -c isobar -n '__fish_seen_subcommand_from put' -F");
  return `${lines.join('\n')}\n`;
}

/** Global flags are said once, at the program. */
function ownOptions(entry: Entry, entries: readonly Entry[]): readonly Option[] {
  return entry.path.length === 0
    ? entry.options
    : entry.options.filter((option) => !entries[0]!.options.includes(option));
}

function fishCondition({ path, commands }: Entry): string {
  if (path.length === 0) return '__fish_use_subcommand';
  const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
  const names = commands.map((child) => child.name()).join(' ');
  return names === '' ? seen : `${seen}; and not __fish_seen_subcommand_from ${names}`;
}

function fishOption(entry: Entry, option: Option): string {
  const condition =
    entry.path.length === 0
      ? ''
      : `-n '${entry.path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ')}' `;
  const short = option.short === undefined ? '' : `-s ${option.short.slice(1)} `;
  const takes =
    option.required || option.optional ? (fileFlags.includes(option.long ?? '') ? '-r -F ' : '-x ') : '';
  return `${condition}${short}-l ${option.long?.slice(2)} ${takes}-d ${quoted(option.description)}`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
