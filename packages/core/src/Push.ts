/** From an archive, or any other source, to a registry. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Memo from "./Copy/Memo.js"
import * as Transfer from "./Copy/Transfer.js"
import * as Copy from "./Copy.js"
import type { ImageEntry, ImageName, ImageReader, ImageSource } from "./ImageStore.js"
import type { Digest } from "./model/Digest.js"
import * as Reference from "./model/Reference.js"
import * as Registry from "./Registry.js"
import * as RegistryConfig from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import { ValidationError } from "./ValidationError.js"

export interface PushOptions extends Copy.Options {
  /** Without references: keep each image's repository and replace its tag by this one. Default: the archive's tags. */
  readonly tag?: string | undefined
  /** Without references: push the first tag of the archive alone. Default false. */
  readonly primary?: boolean | undefined
  /** Without references: send each tag to the host it names, rather than all to the configured registry. Default false. */
  readonly originalHosts?: boolean | undefined
}

export interface PushedImage {
  /** `HOST/REPOSITORY:TAG@DIGEST`, usable as a reference. */
  readonly reference: string
  readonly host: string
  readonly repository: string
  /** `None` where it was pushed by digest alone. */
  readonly tag: Option.Option<string>
  readonly digest: Digest
  readonly mediaType: string
  /** Platforms that the image's index listed and the source did not hold. */
  readonly missingPlatforms: ReadonlyArray<string>
}

/** Where an image could not be pushed to. */
export interface FailedPush<out E> {
  /** `HOST/REPOSITORY:TAG`, each that the image would have got there. */
  readonly references: ReadonlyArray<string>
  readonly error: E
}

export interface PushResult {
  /** One entry a tag, in the order of the references or of the archive. */
  readonly images: ReadonlyArray<PushedImage>
  readonly blobs: Copy.BlobCounts
  /** Manifests that refer to the images and were moved with them. */
  readonly referrers: number
  /** Digests that are others in the registry than in the source. */
  readonly changed: ReadonlyArray<Copy.Changed>
}

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

/**
 * Pushes the image of `source` under one or several references; without any, every tag of the source to the configured
 * registry. Returns what is there now, one entry a tag. Stops at the first failure; `pushEach` goes on.
 *
 * Fails with a RegistryError, the source's own error, or a ValidationError: `SeveralImages`, `NoTag`, `NoRegistry`,
 * `NameConflict` (before anything is sent), `InvalidReference`, `MissingContent` (`strict`), `LayerMismatch`.
 *
 * @example
 * ```ts
 * import { push } from "@effect-registry/core"
 * import { NodeRegistry } from "@effect-registry/node"
 * import { DockerArchive } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const program = push(DockerArchive.file("app.tar"), "localhost:15000/team/app:1.0").pipe(
 *   Effect.provide(NodeRegistry.layer({ url: "http://localhost:15000" }))
 * )
 * ```
 * @since 0.1.0
 */
export const push: {
  (
    references: string | ReadonlyArray<string>,
    options?: PushOptions
  ): <E, R>(
    source: ImageSource<E, R>
  ) => Effect.Effect<PushResult, RegistryError | ValidationError | E, Environment | R>
  <E, R>(
    source: ImageSource<E, R>,
    references?: string | ReadonlyArray<string>,
    options?: PushOptions
  ): Effect.Effect<PushResult, RegistryError | ValidationError | E, Environment | R>
} = dual(
  (args) => typeof args[0] === "object" && "open" in args[0],
  <E, R>(source: ImageSource<E, R>, references: string | ReadonlyArray<string> = [], options: PushOptions = {}) =>
    Effect.flatMap(pushAll(source, references, options, true), ({ failed: [first], ...result }) =>
      first === undefined ? Effect.succeed(result) : Effect.fail(first.error)
    )
)

/**
 * As `push`, but what fails in one repository keeps nothing from the others: what was not pushed, and why, stands in
 * `failed`. Fails where nothing can be pushed at all: the source cannot be read, a reference is malformed.
 *
 * @example
 * ```ts
 * import { pushEach } from "@effect-registry/core"
 * import { DockerArchive } from "@effect-registry/tar"
 *
 * const program = pushEach(DockerArchive.file("app.tar"), ["localhost:15000/app:1.0", "mirror.example/app:1.0"])
 * ```
 * @since 0.1.0
 */
export const pushEach = <E, R>(
  source: ImageSource<E, R>,
  references: string | ReadonlyArray<string> = [],
  options: PushOptions = {}
): Effect.Effect<
  PushResult & { readonly failed: ReadonlyArray<FailedPush<RegistryError | ValidationError | E>> },
  RegistryError | ValidationError | E,
  Environment | R
> => pushAll(source, references, options, false)

// internal

const pushAll = <E, R>(
  source: ImageSource<E, R>,
  references: string | ReadonlyArray<string>,
  options: PushOptions,
  stops: boolean
) =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const wanted = [...new Set(typeof references === "string" ? [references] : references)]
    const reader = yield* source.open
    const entries = yield* reader.images
    const placed =
      wanted.length > 0
        ? yield* placeByReference(source.name, entries, wanted)
        : yield* placeByName(source.name, entries, config, options)
    yield* refuseConflicts(source.name, placed)
    const concurrency = options.concurrency ?? config.concurrency
    return yield* run(source.name, reader, distinct(placed), { ...options, concurrency }, stops)
  }).pipe(Effect.scoped, Effect.withSpan("effect-registry.push", { attributes: { source: source.name } }))

/** One tag, or digest, that one image gets. */
interface Placed {
  readonly entry: ImageEntry
  readonly endpoint: RegistryConfig.Endpoint
  readonly repository: string
  readonly tag: Option.Option<string>
  readonly digest: Option.Option<Digest>
}

const placeByReference = (subject: string, entries: ReadonlyArray<ImageEntry>, references: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const entry = yield* Copy.only(subject, entries)
    const tags = [...new Set(entry.names.flatMap((name) => Option.toArray(name.tag)))]
    const own = tags.length === 1 && tags[0] !== undefined ? tags[0] : "latest"
    return yield* Effect.forEach(references, (text) =>
      Effect.gen(function* () {
        const reference = yield* Reference.parse(text)
        const endpoint = yield* RegistryConfig.endpoint(config, reference.host)
        const untagged = Option.isNone(reference.tag) && Option.isNone(reference.digest)
        const placed: Placed = {
          entry,
          endpoint,
          repository: repositoryAt(endpoint, reference.repository),
          tag: untagged ? Option.some(own) : reference.tag,
          digest: reference.digest
        }
        return placed
      })
    )
  })

const placeByName = (
  subject: string,
  entries: ReadonlyArray<ImageEntry>,
  config: RegistryConfig.Service,
  options: PushOptions
) =>
  Effect.gen(function* () {
    const named = entries.flatMap((entry) => entry.names.map((name) => ({ entry, name })))
    const chosen = options.primary === true ? named.slice(0, 1) : named
    if (chosen.length === 0) return yield* Effect.fail(noTag(subject, "holds no tag"))
    if (options.originalHosts !== true && !RegistryConfig.hasRegistry(config)) {
      return yield* Effect.fail(
        noRegistry(
          subject,
          chosen.map(({ name }) => name)
        )
      )
    }
    return yield* Effect.forEach(chosen, ({ entry, name }) =>
      Effect.gen(function* () {
        if (Option.isNone(name.repository)) {
          return yield* Effect.fail(noTag(subject, `names its image ${Copy.formatName(name)}, without a repository`))
        }
        const parsed = yield* Reference.parseRepository(name.repository.value)
        const endpoint = yield* options.originalHosts === true
          ? RegistryConfig.endpoint(
              config,
              Option.orElseSome(parsed.host, () => Reference.dockerHub)
            )
          : RegistryConfig.endpoint(config, Option.none())
        const fromHub = Option.contains(parsed.host, Reference.dockerHub) || Option.isNone(parsed.host)
        const path = fromHub ? parsed.repository.replace(/^library\/(?=[^/]+$)/, "") : parsed.repository
        const tag =
          options.tag === undefined
            ? Option.orElseSome(name.tag, () => "latest")
            : Option.some(yield* Reference.parseTag(options.tag))
        const placed: Placed = { entry, endpoint, repository: repositoryAt(endpoint, path), tag, digest: Option.none() }
        return placed
      })
    )
  })

const repositoryAt = (endpoint: RegistryConfig.Endpoint, repository: string): string =>
  endpoint.host === Reference.dockerHub ? Reference.hubRepository(repository) : repository

const placeName = (placed: Placed): string =>
  `${placed.endpoint.host}/${placed.repository}${Option.match(placed.tag, { onNone: () => "", onSome: (tag) => `:${tag}` })}`

const refuseConflicts = (subject: string, placed: ReadonlyArray<Placed>): Effect.Effect<void, ValidationError> => {
  const owners = new Map<string, ImageEntry>()
  for (const each of placed) {
    if (Option.isNone(each.tag)) continue
    const name = placeName(each)
    const owner = owners.get(name)
    if (owner !== undefined && owner !== each.entry) {
      const both = [owner, each.entry].map((entry) => entry.names.map(Copy.formatName).join(", ")).join(" and ")
      const message = `two different images would both become ${name}: ${both}`
      return Effect.fail(
        ValidationError.of("NameConflict", subject, message, {
          hint: "push them one by one, each under its own reference"
        })
      )
    }
    owners.set(name, each.entry)
  }
  return Effect.void
}

/** Two references may come to one name, and two tags of an archive to one with `tag`. */
const distinct = (placed: ReadonlyArray<Placed>): ReadonlyArray<Placed> => [
  ...new Map(placed.map((each) => [`${placeName(each)}@${Option.getOrElse(each.digest, () => "")}`, each])).values()
]

type Group = readonly [Placed, ...ReadonlyArray<Placed>]

const run = <E, R>(
  subject: string,
  reader: ImageReader<E, R>,
  placed: ReadonlyArray<Placed>,
  options: Copy.Options,
  stops: boolean
) =>
  Effect.gen(function* () {
    const pushed = new Map<Placed, PushedImage>()
    const results: Array<Copy.CopyResult> = []
    const failed: Array<FailedPush<RegistryError | ValidationError | E>> = []
    const memos = new Map<string, Memo.Memo>()
    for (const group of groupByImage(placed)) {
      const { endpoint, entry } = group[0]
      const memo = memos.get(endpoint.origin) ?? Memo.make()
      memos.set(endpoint.origin, memo)
      const outcome = yield* Effect.either(Effect.scoped(pushGroup(subject, reader, group, { ...options, memo })))
      if (Either.isLeft(outcome)) {
        failed.push({ references: group.map(placeName), error: outcome.left })
        if (stops) break
        continue
      }
      const { descriptor } = outcome.right
      results.push(outcome.right)
      for (const each of group) {
        pushed.set(each, {
          reference: `${placeName(each)}@${descriptor.digest}`,
          host: endpoint.host,
          repository: each.repository,
          tag: each.tag,
          digest: descriptor.digest,
          mediaType: descriptor.mediaType,
          missingPlatforms: entry.missingPlatforms
        })
      }
    }
    return { images: placed.flatMap((each) => pushed.get(each) ?? []), ...Transfer.sum(results), failed }
  })

const pushGroup = <E, R>(
  subject: string,
  reader: ImageReader<E, R>,
  group: Group,
  options: Copy.Options & { readonly memo: Memo.Memo }
): Effect.Effect<Copy.CopyResult, RegistryError | ValidationError | E, Environment | R | Scope.Scope> =>
  Effect.gen(function* () {
    const { endpoint, entry, repository } = group[0]
    const writer = yield* Registry.repository(`${endpoint.host}/${repository}`).open
    const names = group.flatMap(
      ({ tag }): ReadonlyArray<ImageName> => (Option.isNone(tag) ? [] : [{ repository: Option.some(repository), tag }])
    )
    const expected = Option.getOrUndefined(Option.firstSomeOf(group.map(({ digest }) => digest)))
    const result = yield* Transfer.transfer(subject, reader, writer, entry, { ...options, repository, names, expected })
    yield* writer.commit ?? Effect.void
    return result
  })

/** The places that one transfer serves: one image in one repository. Never empty. */
const groupByImage = (placed: ReadonlyArray<Placed>): ReadonlyArray<Group> => {
  const groups: Array<[Placed, ...Array<Placed>]> = []
  for (const each of placed) {
    const group = groups.find(
      ([first]) =>
        first.entry === each.entry &&
        first.endpoint.origin === each.endpoint.origin &&
        first.repository === each.repository &&
        Option.getOrElse(first.digest, () => "") === Option.getOrElse(each.digest, () => "")
    )
    if (group === undefined) groups.push([each])
    else group.push(each)
  }
  return groups
}

const noTag = (subject: string, message: string): ValidationError =>
  ValidationError.of("NoTag", subject, message, { hint: "give the reference to push it to: HOST/REPOSITORY:TAG" })

const noRegistry = (subject: string, names: ReadonlyArray<ImageName>): ValidationError => {
  const tags = names.map(Copy.formatName)
  return ValidationError.of("NoRegistry", subject, `no registry is configured for its tags ${tags.join(", ")}`, {
    hint: "give one: --registry http://localhost:15000, EREG_REGISTRY, or the `url` of RegistryConfig"
  })
}
