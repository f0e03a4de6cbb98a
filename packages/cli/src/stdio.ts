/** What a process is given, as a service, so that the whole command runs inside a test as it does in a shell. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Whoever read our standard output has gone: `ereg list | head -1`. Ends the command, and is no error. */
export class StdoutClosed extends Data.TaggedError("StdoutClosed") {}

/** The defect of a write that fails because of where standard output leads: a full disk. */
export class StdoutFailed extends Error {
  constructor(readonly reason: string) {
    super(`standard output cannot be written: ${reason}`)
  }
}

export interface Service {
  /** Standard input; opened when it is read. */
  readonly input: () => NodeJS.ReadableStream
  readonly inputIsTerminal: boolean
  /** Done when the data was taken, so that a slow reader slows us down. Fails with `StdoutClosed`, dies with `StdoutFailed`. */
  readonly write: (data: string | Uint8Array) => Effect.Effect<void, StdoutClosed>
  /** Whether standard output is a terminal. */
  readonly outputIsTerminal: boolean
  /** Where notes, warnings, errors and bars go. */
  readonly error: NodeJS.WritableStream
  /** Whether standard error is a terminal. */
  readonly errorIsTerminal: boolean
  /** For the folders that it names, and for the programs that are started. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

export class Stdio extends Context.Tag("@effect-registry/cli/Stdio")<Stdio, Service>() {}

/** The streams of this process. */
export const layer: Layer.Layer<Stdio> = Layer.sync(Stdio, () => {
  // A write reports its failure to its callback; without a listener the same failure would also end the process.
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})
  return {
    input: () => process.stdin,
    inputIsTerminal: process.stdin.isTTY === true,
    write: (data) => writeTo(process.stdout, data),
    outputIsTerminal: process.stdout.isTTY === true,
    error: process.stderr,
    errorIsTerminal: process.stderr.isTTY === true,
    environment: process.env
  }
})

/** Writes and waits. */
export const writeTo = (stream: NodeJS.WritableStream, data: string | Uint8Array): Effect.Effect<void, StdoutClosed> =>
  Effect.async((resume) => {
    stream.write(data, (error) => {
      if (error === undefined || error === null) resume(Effect.void)
      else resume(isClosed(error) ? Effect.fail(new StdoutClosed()) : Effect.die(new StdoutFailed(error.message)))
    })
  })

// internal

const isClosed = (error: Error): boolean =>
  "code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED" || error.code === "ECONNRESET")
