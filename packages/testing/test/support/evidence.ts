/** Everything that somebody may see of a run: logs, spans, progress, errors in every form, outputs of the command. */
import { inspect } from "node:util"
import { Progress } from "@effect-registry/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Tracer from "effect/Tracer"

export interface Evidence {
  /** Collects what the effect shows. */
  readonly of: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Exit.Exit<A, E>, never, R>
  readonly add: (where: string, text: string) => void
  /** The places that show the text, with what is around it. */
  readonly find: (text: string) => ReadonlyArray<string>
  readonly pieces: () => number
}

export const collect = (): Evidence => {
  const seen: Array<{ readonly where: string; readonly text: string }> = []
  const add = (where: string, text: string) => void seen.push({ where, text })
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      return {
        _tag: "Span",
        name,
        spanId: crypto.randomUUID(),
        traceId: "trace",
        parent,
        context,
        get status() {
          return status
        },
        attributes,
        links,
        sampled: true,
        kind,
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
          add(`span ${name}`, show([...attributes]))
          if (Exit.isFailure(exit)) add(`end of span ${name}`, causes(exit.cause))
        },
        attribute: (key, value) => void attributes.set(key, value),
        event: (event, _, values) => add(`event ${event} of span ${name}`, show(values)),
        addLinks: (more) => add(`links of span ${name}`, show(more))
      }
    },
    context: (run) => run()
  })
  const logger = Logger.make(({ annotations, cause, message, spans }) =>
    add("log", `${show(message)} ${show([...annotations])} ${show([...spans])} ${causes(cause)}`)
  )
  const layer = Layer.mergeAll(
    Logger.replace(Logger.defaultLogger, logger),
    Logger.minimumLogLevel(LogLevel.All),
    Layer.setTracer(tracer),
    Layer.succeed(Progress.Progress, { emit: (event) => add("progress", show(event)) })
  )
  return {
    of: (effect) =>
      Effect.exit(effect).pipe(
        Effect.tap((exit) => Effect.sync(() => void (Exit.isFailure(exit) && add("error", causes(exit.cause))))),
        Effect.provide(layer)
      ),
    add,
    find: (text) =>
      seen.flatMap((each) => {
        const at = each.text.indexOf(text)
        return at < 0 ? [] : [`${each.where}: …${each.text.slice(Math.max(0, at - 80), at + text.length + 20)}…`]
      }),
    pieces: () => seen.length
  }
}

// internal

/** What a debugger or a careless `console.log` shows. */
const show = (value: unknown): string => inspect(value, { depth: 12, showHidden: true, maxStringLength: null })

const causes = (cause: Cause.Cause<unknown>): string =>
  [
    Cause.pretty(cause, { renderErrorCause: true }),
    JSON.stringify(cause),
    ...[...Cause.failures(cause), ...Cause.defects(cause)].map(
      (error) => `${String(error)} ${JSON.stringify(error)} ${show(error)}`
    )
  ].join("\n")
