/** The only place that runs: starts the command, listens to signals, ends the process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as EffectExit from "effect/Exit"
import { commandIndex } from "./argv.js"
import { run } from "./ereg.js"
import { code } from "./exit.js"
import * as Output from "./output.js"
import * as Stdio from "./stdio.js"

const words = process.argv.slice(2)

/**
 * What a command may take to end after a signal, in milliseconds; the contract says two seconds. A registry that is told to
 * terminate lets the requests of others finish.
 */
const grace = (signal: NodeJS.Signals) =>
  signal === "SIGTERM" && words[commandIndex(words)] === "serve" ? 12_000 : 1800

let signalled: number | undefined
let status: number = code.done

const onSignal = (signal: NodeJS.Signals) => {
  // The runtime listens too and interrupts the command. Without any listener left, a second signal ends us at once.
  process.removeListener("SIGINT", onSignal)
  process.removeListener("SIGTERM", onSignal)
  const ended = signal === "SIGTERM" ? code.terminated : code.interrupted
  signalled = ended
  setTimeout(() => process.exit(ended), grace(signal)).unref()
}
process.on("SIGINT", onSignal)
process.on("SIGTERM", onSignal)

run(words).pipe(
  Effect.tap((ended) =>
    Effect.sync(() => {
      status = ended
    })
  ),
  Effect.provide(Stdio.layer),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    disablePrettyLogger: true,
    teardown: (exit) => {
      if (EffectExit.isSuccess(exit)) process.exit(signalled ?? status)
      if (Cause.isInterruptedOnly(exit.cause)) process.exit(signalled ?? code.interrupted)
      process.stderr.write(`error: ereg failed\n${Output.lines(Cause.pretty(exit.cause))}\n`)
      process.exit(signalled ?? code.failed)
    }
  })
)
