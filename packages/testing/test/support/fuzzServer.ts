/**
 * A registry as a process of its own, for tests that measure its memory and would see it crash. Its one argument is JSON:
 * the options of the registry, and no `root` for one in memory. Prints its port, then one line of JSON for each thing logged.
 */
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"

const options: EmbeddedRegistry.Options & { readonly root?: string } = JSON.parse(process.argv[2] ?? "{}")

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

const logger = Logger.map(Logger.logfmtLogger, (line) => say({ line }))

const registry =
  options.root === undefined
    ? EmbeddedRegistry.layerMemory(options)
    : EmbeddedRegistry.layer({ fsync: false, ...options, root: options.root })

const program = Effect.flatMap(EmbeddedRegistry.EmbeddedRegistry, ({ port }) =>
  Effect.zipRight(
    Effect.sync(() => say({ port })),
    Effect.never
  )
).pipe(Effect.provide(registry), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))

const fiber = Effect.runFork(program)
process.once("SIGTERM", () => Effect.runFork(Fiber.interrupt(fiber)))
