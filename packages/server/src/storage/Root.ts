/** The folder as a whole: is it one of ours, and of a version that we know? */
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ServerError } from "../ServerError.js"
import * as Files from "./Files.js"
import type { Layout } from "./Layout.js"

/** The version of the format that `docs/registry-storage.md` describes. */
export const format = 1

/** What a folder is served as. */
export interface Use {
  /** The registry that it is a cache of; `undefined` for a registry of its own. */
  readonly cacheOf: string | undefined
}

/**
 * Makes an empty or missing folder that of a registry. Fails with `RootUnusable` where it holds something else, a registry
 * of a version that is not known here, or one of another use; nothing is changed then.
 */
export const prepare = (layout: Layout, use?: Use): Effect.Effect<void, ServerError> =>
  Effect.gen(function* () {
    const unusable = (cause: unknown, advice?: string) =>
      new ServerError({ reason: "RootUnusable", subject: layout.root, cause, advice })
    const version = yield* Effect.tryPromise({
      try: () => Files.readText(layout.version),
      catch: (cause) => unusable(cause)
    })
    if (version === undefined) {
      const names = yield* Effect.tryPromise({ try: () => strangers(layout), catch: (cause) => unusable(cause) })
      if (names.length > 0) {
        return yield* unusable(
          new Error(`it is not empty and has no registry.json, but ${JSON.stringify(names[0])}`),
          "choose an empty folder, one that does not exist yet, or one that a registry made"
        )
      }
    } else {
      const decoded = decodeVersion(version)
      const found = Option.map(decoded, ({ format }) => format)
      if (!Option.contains(found, format)) {
        const said = Option.match(found, { onNone: () => "no format that makes sense", onSome: (n) => `format ${n}` })
        return yield* unusable(
          new Error(`its registry.json names ${said}, and this program knows format ${format}`),
          "serve it with the version of the program that made it, or copy its images to a new registry with ereg sync"
        )
      }
      // A cache forgets the tags that the other registry does not have; a registry of its own would lose them.
      const was = Option.getOrUndefined(decoded)?.cacheOf
      if (use !== undefined && was !== use.cacheOf) {
        return yield* unusable(
          new Error(`it is ${described(was)}, not ${described(use.cacheOf)}`),
          "give every cache and every registry a folder of its own"
        )
      }
    }
    yield* Effect.tryPromise({
      try: () => create(layout, version === undefined ? (use ?? { cacheOf: undefined }) : undefined),
      catch: (cause) => unusable(cause)
    })
  })

/** Removes what a process that was killed was writing. Only for whoever alone uses the folder. */
export const clear = (layout: Layout): Effect.Effect<void, ServerError> =>
  Effect.tryPromise({
    try: async () => {
      for (const { name } of await Files.list(layout.tmp))
        await Fs.rm(join(layout.tmp, name), { recursive: true, force: true })
    },
    catch: (cause) => new ServerError({ reason: "RootUnusable", subject: layout.root, cause })
  })

// internal

const decodeVersion = Schema.decodeOption(
  Schema.parseJson(Schema.Struct({ format: Schema.Number, cacheOf: Schema.optional(Schema.String) }))
)

const described = (cacheOf: string | undefined) => (cacheOf === undefined ? "a registry" : `a cache of ${cacheOf}`)

/** What an empty folder may hold: what file systems put there, and what we do before the version is there. */
const harmless: ReadonlySet<string> = new Set(["lost+found", "tmp"])

const strangers = async (layout: Layout): Promise<ReadonlyArray<string>> =>
  (await Files.list(layout.root)).map(({ name }) => name).filter((name) => !harmless.has(name) && !name.startsWith("."))

/** With `as` it is a new one. */
const create = async (layout: Layout, as: Use | undefined): Promise<void> => {
  await Fs.mkdir(layout.tmp, { recursive: true })
  if (as !== undefined) {
    const temporary = join(layout.tmp, randomUUID())
    const handle = await Fs.open(temporary, "w")
    try {
      await handle.writeFile(`${JSON.stringify({ format, cacheOf: as.cacheOf })}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await Fs.rename(temporary, layout.version)
  }
  await Fs.mkdir(layout.repositories, { recursive: true })
}
