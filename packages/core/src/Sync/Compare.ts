/** What each pair comes to: one request for the source's tag, one for the target's, and what has to be done. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Graph from "../Copy/Graph.js"
import * as Platforms from "../Copy/Platforms.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as ManifestModel from "../model/Manifest.js"
import * as Platform from "../model/Platform.js"
import * as Reference from "../model/Reference.js"
import * as Client from "../Registry/Client.js"
import { type Connection, connect } from "../Registry/Connection.js"
import * as Failure from "../Registry/Failure.js"
import * as Manifest from "../Registry/Manifest.js"
import * as Referrers from "../Registry/Referrers.js"
import type { RegistryConfig } from "../RegistryConfig.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import type { Repository } from "./Listing.js"
import * as Once from "./Once.js"
import { type Equal, type Failed, failureOf, type Transfer } from "./Plan.js"
import type { Flow, Pair } from "./Select.js"

type Environment = HttpClient.HttpClient | RegistryConfig
type Failing = RegistryError | ValidationError

/** A pair, and what is done with it. */
export interface Compared {
  readonly pair: Pair
  readonly action: Omit<Transfer, "bytes"> | Equal | Failed
  /** The source's manifests that make up what the target gets; none of what failed. */
  readonly images: ReadonlyArray<Descriptor>
}

/** One client for each repository, so that all know what one has learned. */
export interface Connections {
  readonly get: (repository: Repository) => Effect.Effect<Connection, ValidationError, Environment>
}

export const makeConnections = (): Connections => {
  const connections = new Map<string, Connection>()
  return {
    get: ({ name }) =>
      Effect.gen(function* () {
        const opened = connections.get(name) ?? (yield* connect(name, Reference.parseRepository, "pull"))
        const first = connections.get(name) ?? opened
        connections.set(name, first)
        return first
      })
  }
}

/** What a tag names; `None` also for what nobody can read any more. */
export const headOf = (
  connections: Connections,
  repository: Repository,
  tag: string
): Effect.Effect<Option.Option<Descriptor>, Failing, Environment> =>
  Effect.flatMap(connections.get(repository), (at) => Manifest.headReadable(at.client, at.repository, tag))

/** Compares pairs, several at once, and keeps what it has asked about images that many tags name. */
export const make = (connections: Connections): ((pair: Pair) => Effect.Effect<Compared, never, Environment>) => {
  const lacks = lacking(connections)
  // A tag that goes to several places is looked at once.
  const once = Once.make<Source, Failing, Environment>()
  return (pair) =>
    Effect.gen(function* () {
      const { flow, tag, targetTag } = pair
      const at = yield* connections.get(flow.source)
      const key = JSON.stringify([flow.source.name, tag, flow.rule.entry.platforms])
      const looks = [once(key, sourceOf(at, flow, tag)), headOf(connections, flow.target, targetTag)] as const
      const [source, there] = yield* Effect.all(looks, { concurrency: 2 })
      const names = {
        from: `${flow.source.name}:${tag}@${source.root.digest}`,
        to: `${flow.target.name}:${targetTag}`,
        digest: source.result.digest
      }
      const replaces = Option.match(there, { onNone: () => null, onSome: ({ digest }) => digest })
      if (replaces === names.digest && !(yield* lacks(flow, source))) {
        return { pair, action: { action: "equal", ...names }, images: source.images } satisfies Compared
      }
      const { digestTags = false, referrers = false } = flow.rule.entry
      const platforms = flow.rule.platforms.map(Platform.format)
      const action = replaces === null ? ("copy" as const) : ("update" as const)
      return {
        pair,
        action: { action, ...names, replaces, platforms, referrers, digestTags },
        images: source.images
      } satisfies Compared
    }).pipe(Effect.catchAll((error) => Effect.succeed<Compared>({ pair, action: failed(pair, error), images: [] })))
}

/** The pair as one that cannot be copied. */
export const failed = ({ flow, tag, targetTag }: Pair, error: Failing): Failed => ({
  action: "failed",
  from: `${flow.source.name}:${tag}`,
  to: `${flow.target.name}:${targetTag}`,
  error: failureOf(error)
})

// internal

interface Source {
  /** What the tag names. */
  readonly root: Descriptor
  /** What the target gets of it. */
  readonly result: Descriptor
  /** Whether the result is an index that the source does not have. */
  readonly isMade: boolean
  readonly images: ReadonlyArray<Descriptor>
}

/** One request. An index of which platforms are selected is read for it, everything else is only looked for. */
const sourceOf = (
  { client, repository }: Connection,
  { rule }: Flow,
  tag: string
): Effect.Effect<Source, Failing, Environment> =>
  Effect.gen(function* () {
    const subject = Manifest.subjectOf(client, repository, tag)
    if (rule.platforms.length === 0) {
      const found = yield* Manifest.head(client, repository, tag)
      if (Option.isNone(found)) return yield* Effect.fail(missing(client, repository, tag))
      return { root: found.value, result: found.value, isMade: false, images: [found.value] }
    }
    const { bytes, descriptor } = yield* Manifest.get(client, repository, tag)
    const reader = { manifest: () => Effect.succeed(bytes) }
    const chosen = yield* Platforms.choose(subject, reader, { _tag: "Manifest", descriptor }, rule.platforms)
    const result = chosen.descriptor
    if (chosen._tag === "Manifest") return { root: descriptor, result, isMade: false, images: [result] }
    const index = yield* ManifestModel.decode(chosen.bytes, { subject, mediaType: result.mediaType })
    return { root: descriptor, result, isMade: true, images: ManifestModel.children(index) }
  })

const missing = (client: Client.Client, repository: string, tag: string): RegistryError => {
  const operation = `look for manifest ${Manifest.subjectOf(client, repository, tag)}`
  const url = Client.urlOf(client, `${repository}/manifests/${tag}`)
  return Failure.make({ operation, method: "HEAD", url }, "NotFound", { status: 404 })
}

/** Whether the target lacks something that refers to an image it has; asked once for each image of a repository. */
const lacking = (connections: Connections) => {
  const once = Once.make<boolean, Failing, Environment>()
  return (flow: Flow, source: Source): Effect.Effect<boolean, Failing, Environment> =>
    Effect.gen(function* () {
      const { digestTags = false, referrers = false } = flow.rule.entry
      if (source.isMade || (!referrers && !digestTags)) return false
      const key = JSON.stringify([flow.source.name, flow.target.name, source.result.digest, referrers, digestTags])
      const look = Effect.gen(function* () {
        if (referrers && (yield* lacksReferrers(connections, flow, source.result))) return true
        return digestTags && (yield* lacksDigestTags(connections, flow, source.result))
      })
      return yield* once(key, look)
    })
}

const lacksReferrers = (connections: Connections, { source, target }: Flow, { digest }: Descriptor) =>
  Effect.gen(function* () {
    const listOf = (repository: Repository) =>
      Effect.flatMap(connections.get(repository), (at) => Referrers.list(at.client, at.repository, digest))
    const wanted = (yield* listOf(source)).referrers
    if (wanted.length === 0) return false
    const there = new Set((yield* listOf(target)).referrers.map((each) => each.digest))
    return wanted.some((each) => !there.has(each.digest))
  })

/** The listing of the source says which of them there are. */
const lacksDigestTags = (connections: Connections, { listed, source, target }: Flow, { digest }: Descriptor) =>
  Effect.gen(function* () {
    for (const tag of Graph.digestTagsOf(digest).filter((each) => listed?.tags.has(each) === true)) {
      const wanted = yield* headOf(connections, source, tag)
      const there = yield* headOf(connections, target, tag)
      if (Option.exists(wanted, (each) => !Option.exists(there, (other) => other.digest === each.digest))) return true
    }
    return false
  })
