/** Questions to whoever sits at the terminal. They are asked on standard error: standard output is data. */
import { createInterface } from "node:readline"
import { Writable } from "node:stream"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { escape } from "./output.js"
import type { Service as Stdio } from "./stdio.js"

export interface Prompt {
  /** The line that is typed. */
  readonly text: (question: string) => Effect.Effect<string>
  /** The line that is typed, without a sign of it on the screen. */
  readonly secret: (question: string) => Effect.Effect<string>
}

/**
 * Takes the terminal until the scope ends, and gives it back as it was. Ctrl-C and Ctrl-D interrupt whoever asks: the
 * terminal turns neither into a signal or an end while we read its keys.
 */
export const make = (stdio: Stdio): Effect.Effect<Prompt, never, Scope.Scope> =>
  Effect.gen(function* () {
    let echoes = false
    const lines = yield* Queue.unbounded<string | undefined>()
    const echo = new Writable({
      write: (chunk: Uint8Array, _encoding, done) => {
        if (echoes) stdio.error.write(chunk)
        done()
      }
    })
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        // Without a history: the secret would be in it.
        const reader = createInterface({ input: stdio.input(), output: echo, terminal: true, historySize: 0 })
        reader.on("line", (line) => Queue.unsafeOffer(lines, line))
        // Of Ctrl-C, Ctrl-D and the end of the input.
        reader.on("close", () => Queue.unsafeOffer(lines, undefined))
        return reader
      }),
      (reader) => Effect.sync(() => reader.close())
    )
    const ask = (question: string, visible: boolean) =>
      Effect.gen(function* () {
        stdio.error.write(escape(question))
        echoes = visible
        const line = yield* Queue.take(lines)
        // What is typed ahead of the next question is not for the screen.
        echoes = false
        if (!visible || line === undefined) stdio.error.write("\n")
        return line === undefined ? yield* Effect.interrupt : line
      })
    return { text: (question) => ask(question, true), secret: (question) => ask(question, false) }
  })
