/** The demo cannot begin with what it was given; nothing was done. Exit code 2. */
export class ArgumentFailure extends Error {
  override readonly name = 'ArgumentFailure';
}

/** Something that the demo claims did not come true. Exit code 1. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure';
}
