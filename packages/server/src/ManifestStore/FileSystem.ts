/** Manifests, tags and referrers in a plain folder, laid out as `storage/Layout.ts` says. */
import type { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as KeyedLock from "../KeyedLock.js"
import type { Described, ManifestStore } from "../ManifestStore.js"
import type { StorageError } from "../StorageError.js"
import * as Files from "../storage/Files.js"
import * as Index from "../storage/Index.js"
import * as IndexWriter from "../storage/IndexWriter.js"
import type { Layout } from "../storage/Layout.js"
import * as Asked from "./Asked.js"
import * as Catalog from "./Catalog.js"
import * as Changes from "./Changes.js"
import * as Records from "./Records.js"

export interface Options {
  readonly layout: Layout
  readonly files: Files.Files
}

/**
 * The only one that changes this folder: what it read it remembers. It begins by looking, in the background, for what a process
 * that was killed left undone, and ends by writing what is outstanding.
 */
export const make = ({
  files,
  layout
}: Options): Effect.Effect<Context.Tag.Service<ManifestStore>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const records = Records.make(layout)
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const writer = yield* Effect.acquireRelease(
      Effect.sync(() =>
        IndexWriter.make({
          layout,
          read: records.all,
          onFailure: (repository, cause) =>
            void runFork(Effect.logWarning(`writing index.json of ${repository}: ${cause}`))
        })
      ),
      (writer) => Effect.promise(() => writer.close())
    )
    const catalog = Catalog.make(layout, async (repository) => {
      if (await Index.isStale(layout, repository)) writer.touch(repository, "now")
    })
    yield* Effect.forkScoped(Effect.ignoreLogged(Files.attempt("look for repositories", catalog.repositories)))
    return service({ layout, files, records, catalog, asked: Asked.make(layout), touch: writer.touch })
  })

// internal

const service = (context: Changes.Context): Context.Tag.Service<ManifestStore> => {
  const { catalog, layout, records } = context
  const lock = KeyedLock.make()
  const { key } = Records

  /** Looks, and notes first that somebody does. */
  const asking = <A>(repository: string, digest: Digest.Digest, look: () => Effect.Effect<A, StorageError>) =>
    Effect.suspend(() => {
      const leaving = context.asked.note(repository, digest)
      return leaving === undefined
        ? look()
        : Effect.flatMap(
            Effect.promise(() => leaving),
            look
          )
    })

  const repositoryExists = async (repository: string) =>
    (await Files.sizeOf(layout.image(repository))) !== undefined || (await Catalog.holdsManifest(layout, repository))

  return {
    describe: (repository, digest) =>
      asking(repository, digest, () =>
        Effect.map(
          held("look at a manifest", records.markers.peek(key(repository, digest)), () =>
            records.marker(repository, digest)
          ),
          Option.map((found) => described(digest, found))
        )
      ),

    read: (repository, digest, quietly = false) => {
      const look = () => {
        const marker = records.markers.peek(key(repository, digest))
        const bytes = records.contents.peek(digest)
        const stored = marker && bytes && { ...described(digest, marker), bytes }
        return held("read a manifest", stored, async () => {
          const found = await records.marker(repository, digest)
          const bytes = found && (await records.bytes(repository, digest))
          return found && bytes && { ...described(digest, found), bytes }
        })
      }
      return quietly ? Effect.suspend(look) : asking(repository, digest, look)
    },

    change: (repository, f) => lock(repository)(f(Changes.edit(context, repository))),

    list: (repository) => Files.attempt("list manifests", () => records.manifests(repository)),

    resolve: (repository, tag) => {
      const digest = records.tags.peek(key(repository, tag))
      const isThere = digest !== undefined && records.markers.peek(key(repository, digest)) !== undefined
      return held("read a tag", isThere ? digest : undefined, () => records.resolve(repository, tag))
    },

    tags: (repository) =>
      held("list tags", records.names.peek(key(repository)), async () => {
        const names = await records.tagNames(repository)
        return names.length > 0 || (await repositoryExists(repository)) ? names : undefined
      }).pipe(
        Effect.map(Option.filter((names) => names.length > 0)),
        Effect.flatMap(
          Option.match({
            onSome: (names) => Effect.succeedSome(names),
            onNone: () =>
              Effect.map(
                Files.attempt("look at a repository", () => repositoryExists(repository)),
                (exists) => (exists ? Option.some([]) : Option.none())
              )
          })
        )
      ),

    repositories: Files.attempt("list repositories", catalog.repositories),

    referrers: (repository, subject, part) =>
      Files.attempt("list referrers", () => records.referrers(repository, subject, part))
  }
}

/** What is at hand, else what is read; the common case costs no promise. */
const held = <A>(operation: string, found: A | undefined, read: () => Promise<A | undefined>) =>
  found === undefined ? Effect.map(Files.attempt(operation, read), Option.fromNullable) : Effect.succeedSome(found)

const described = (digest: Digest.Digest, { mediaType, size }: Records.Marker): Described => ({
  digest,
  mediaType,
  size
})
