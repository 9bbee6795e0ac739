import { Argument, type Command } from 'commander';
import { completionScript } from '../completion-script.ts';
import type { Act } from '../program.ts';

export function completion(program: Command, act: Act): void {
  program
    .command('completion')
    .summary('print a completion script for your shell')
    .description('Prints a script that completes commands and flags.')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(isobar completion bash)             # in ~/.bashrc\n' +
        '  source <(isobar completion zsh)              # in ~/.zshrc, after compinit\n' +
        '  isobar completion fish > ~/.config/fish/completions/isobar.fish',
    )
    .action(
      act(async ({ output }, shell: 'bash' | 'zsh' | 'fish') =>
        output.document(completionScript(program, shell)),
      ),
    );
}
