/** `ereg gc`: frees what the images of a registry on this machine do not need. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type { Control, Gc } from "@effect-registry/server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { code, Failed } from "./exit.js"
import type { Page } from "./help.js"
import { duration, forRegistries, global, time } from "./options.js"
import { count, Output, size } from "./output.js"
import { perform } from "./perform.js"

/** As other options take it, and also none at all. */
const spanOf = (text: string): Option.Option<Duration.Duration> =>
  /^0[a-z]*$/.test(text.trim()) ? Option.some(Duration.zero) : duration(text)

const options = {
  root: Options.text("root").pipe(
    Options.withPseudoName("DIR"),
    Options.withDescription("The folder of the registry, as `ereg serve --root` was given it; required")
  ),
  dryRun: Options.boolean("dry-run").pipe(Options.withDescription("Only say what would be removed")),
  untagged: Options.boolean("untagged").pipe(
    Options.withDescription("Also remove manifests that no tag, index or referrer leads to")
  ),
  grace: time(
    "grace",
    "What was pushed, mounted or asked for within this time stays (default: 1h)",
    "30m, 2h or 0",
    spanOf
  ),
  uploadExpiry: time(
    "upload-expiry",
    "Uploads that got no byte for this time go (default: what the running registry was told, else 1d)",
    "30m, 2h or 0",
    spanOf
  )
}

export const page: Page = {
  name: "gc",
  summary: "Free what the images of a registry on this machine do not need",
  synopsis: "--root DIR",
  arguments: [],
  options,
  without: [...forRegistries, "registry", "authfile"],
  notes: [
    "Removes blobs that no manifest names and uploads that nobody goes on with. A running registry does it itself, while",
    "clients push and pull. Every manifest is kept, also without a tag, unless --untagged says otherwise."
  ],
  examples: [
    ["ereg gc --root registry-data --dry-run", "What would be freed?"],
    ["ereg gc --root registry-data", "Free it"],
    ["ereg gc --root registry-data --untagged --grace 24h", "Also manifests whose tags moved on more than a day ago"]
  ]
}

export const command = Command.make("gc", { ...options, global }, (input) =>
  perform(
    { name: "gc", global: input.global },
    Effect.gen(function* () {
      const output = yield* Output
      // Loaded here: no other command needs a registry, and all start faster without one.
      const { Control } = yield* Effect.promise(() => import("@effect-registry/server"))
      const { dryRun, untagged } = input
      const done = yield* Control.collect(input.root, {
        dryRun,
        untagged,
        grace: Option.getOrUndefined(input.grace),
        uploadExpiry: Option.getOrUndefined(input.uploadExpiry)
      })
      const { kept } = done.collected
      for (const { digest, repository, why } of kept) {
        yield* output.warn(`${repository} stays as it is: ${why}${digest === undefined ? "" : ` (${digest})`}`)
      }
      yield* output.print(lines(done, dryRun), toJson(done, dryRun))
      // A manifest of a kind that nobody can read is no failure, a file that cannot be read is.
      if (kept.some(({ digest }) => digest === undefined)) return yield* Effect.fail(new Failed({ code: code.failed }))
    })
  )
)

// internal

const lines = ({ collected }: Control.Done, dryRun: boolean): ReadonlyArray<string> => {
  const { blobs, bytes, manifests, removed, removedCount, uploads } = collected
  const rest = removedCount - removed.length
  const parts = [count(blobs, "blob"), count(manifests, "manifest"), count(uploads, "unfinished upload")]
  const isShared = removed.filter(({ kind }) => kind !== "upload").length > blobs
  return [
    ...removed.map(line),
    ...(rest > 0 ? [`and ${rest} more`] : []),
    `${dryRun ? "would free" : "freed"} ${size(bytes)}: ${parts.join(", ")}${isShared ? sharing : ""}`
  ]
}

const sharing = " (what another repository still holds frees nothing)"

const line = (entry: Gc.Removed): string =>
  entry.kind === "upload"
    ? `upload    ${entry.repository} ${entry.id}  ${size(entry.size)}`
    : `${entry.kind.padEnd(8)}  ${entry.repository}@${entry.digest}  ${size(entry.size)}`

const toJson = ({ collected, online }: Control.Done, dryRun: boolean) => ({
  dryRun,
  online,
  blobs: collected.blobs,
  bytes: collected.bytes,
  manifests: collected.manifests,
  uploads: collected.uploads,
  repositories: collected.repositories,
  removed: collected.removed.map((entry) => ({
    kind: entry.kind,
    repository: entry.repository,
    digest: entry.kind === "upload" ? null : entry.digest,
    upload: entry.kind === "upload" ? entry.id : null,
    size: entry.size
  })),
  removedCount: collected.removedCount,
  kept: collected.kept.map(({ digest, repository, why }) => ({ repository, digest: digest ?? null, why }))
})
