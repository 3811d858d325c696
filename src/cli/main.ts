/** The command line: which commands there are, what they take, and how what goes wrong ends the program. */
import { Argument, Command as Program, CommanderError, InvalidArgumentError, Option } from 'commander';
import { TapPoolError } from '../errors.js';
import { bench } from './bench.js';
import { newContext, type Command, type CommonOptions, type Environment } from './context.js';
import { create, parseOwner, type CreateOptions } from './create.js';
import { remove, type DeleteOptions } from './delete.js';
import { demo } from './demo.js';
import { doctor } from './doctor/doctor.js';
import { EXIT, UsageError, type ExitCode } from './exit.js';
import { status } from './status.js';
import { sweep } from './sweep.js';
import { painter, printable } from './terminal.js';
import { parseDuration, parseWhole } from './units.js';
import { version } from './version.js';

/** What the parser gives a command: its options without its arguments. */
type Given<Options, Arguments extends string = never> = Omit<Options, Arguments> &
  CommonOptions & { readonly color: boolean };

/** Runs one command line. Never rejects for what the user or the kernel did; the answer is how the program ends. */
export async function main(args: readonly string[], environment: Environment): Promise<ExitCode> {
  const { err } = environment.terminal;
  let exit: ExitCode = EXIT.ok;
  const program = newProgram(environment, (code) => (exit = code));
  try {
    await program.parseAsync(args, { from: 'user' });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof UsageError) {
      err(`tap-pool: ${error.message}\n`);
      return EXIT.usage;
    }
    if (environment.signal.aborted) {
      err('tap-pool: interrupted; what had been made for the command was deleted\n');
      return EXIT.interrupted;
    }
    if (!(error instanceof TapPoolError)) throw error;
    err(`tap-pool: ${printable(error.message)} (${error.code})\n`);
    // A name or a number that cannot be: nothing was asked of the kernel.
    return error.code.startsWith('ERR_TAP_INVALID_') ? EXIT.usage : EXIT.failure;
  }
}

function newProgram(environment: Environment, done: (code: ExitCode) => void): Program {
  const { out, err } = environment.terminal;
  const program = new Program('tap-pool')
    .description('Looks after the TAP interfaces of tap-pool.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: err })
    .showHelpAfterError('(tap-pool --help tells what there is)')
    .addHelpText(
      'after',
      '\nExit status: 0 done, 1 failed, 2 wrong usage, 3 doctor found a problem, 4 doctor warns.',
    );
  const command = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .helpOption('-h, --help', 'print this help')
      .option('--netns <path>', 'work in this network namespace: a path, or a name of `ip netns`')
      .option('--json', 'print JSON')
      .option('--no-color', 'print no colours');
  const run =
    <Options>(act: Command<Options>) =>
    async (options: Given<Options>) => {
      const context = newContext(
        environment,
        options,
        painter(environment.terminal.colours && options.color),
      );
      try {
        done(await act(context, options));
      } finally {
        await context.kernel.close();
      }
    };

  command('status', 'show every TAP of every pool, its state, and whose it is')
    .option('--prefix <prefix>', 'only TAPs of pools with this prefix')
    .action(run(status));
  command('doctor', 'find what keeps a pool from working here, and tell what to do')
    .option('--prefix <prefix>', 'the prefix of the pool', 'tap-pool-')
    .action(run(doctor));
  command('sweep', 'delete the TAPs that dead launchers left; without --yes only tell which')
    .option('--prefix <prefix>', 'the prefix of the pool', 'tap-pool-')
    .option('--yes', 'delete them')
    .addOption(
      new Option('--min-age <duration>', 'leave younger ones alone: 90s, 10m, 2h, 1d').argParser(
        argument(parseDuration),
      ),
    )
    .action(run(sweep));
  command('create', 'create one TAP by hand; no pool takes it for its own')
    .argument('<name>', 'its name, at most 15 bytes')
    .option('--bridge <name>', 'the bridge that it joins')
    .addOption(
      new Option('--owner <uid[:gid]>', 'who may open it (default: you)').argParser(argument(parseOwner)),
    )
    .addOption(
      new Option('--mtu <bytes>', 'its MTU').argParser(
        argument((text) => parseWhole(text, 'the MTU', 65_521)),
      ),
    )
    .option('--multi-queue', 'IFF_MULTI_QUEUE')
    .option('--no-vnet-header', 'without IFF_VNET_HDR')
    .option('--no-up', 'leave it down')
    .option('--prefix <prefix>', 'stamp it for the pool with this prefix, whose next start adopts it')
    .action((name: string, options: Given<CreateOptions, 'name'>) => run(create)({ ...options, name }));
  command('delete', 'delete TAPs by name')
    .addArgument(new Argument('<names...>', 'their names'))
    .option('--force', 'also what bears no stamp, belongs to a living pool, or is held by a VM')
    .action((names: string[], options: Given<DeleteOptions, 'names'>) => run(remove)({ ...options, names }));
  command('bench', 'measure what a pool costs here; makes 512 TAPs and deletes them')
    .option('--quick', 'with 64 TAPs')
    .action(run(bench));
  command('demo', 'show a pool at work, in a namespace given with --netns').action(run(demo));
  return program;
}

/** What the parser is told of a value that is none. */
function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof UsageError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}
