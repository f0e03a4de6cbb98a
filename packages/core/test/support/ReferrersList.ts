/** Registries that keep no list of referrers, and runs that write referrers to them. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import {
  type Descriptor,
  getManifest,
  type ImageName,
  Manifest,
  MediaType,
  Referrer,
  Registry,
  RegistryConfig
} from "@effect-registry/core"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Client from "../../src/Registry/Client.js"
import { image } from "./Image.js"
import { empty, type Made } from "./Referrer.js"

export const layer = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ retry: { delay: 10 } }))
export const subject = image().manifest.descriptor
export const tag = Referrer.fallbackTag(subject.digest)

export const start = (referrers: boolean) =>
  Effect.gen(function* () {
    const recorder = Faults.recorder()
    const { host, url } = yield* EmbeddedRegistry.makeMemory({ referrers, observe: recorder.observe })
    return { recorder, repository: `${host}/a`, url }
  })

/** A writer of a run that is about to begin; the one blob that referrers need is there. */
export const opened = (repository: string) =>
  Effect.gen(function* () {
    const writer = yield* Registry.repository(repository).open
    yield* writer.writeBlob({
      descriptor: Option.some(empty.descriptor),
      mediaType: empty.descriptor.mediaType,
      content: Effect.succeed({ _tag: "Bytes", bytes: empty.bytes }),
      alsoIn: []
    })
    return writer
  })

/** Writes them, all at once, as one run does that ends well. */
export const write = (repository: string, referrers: ReadonlyArray<Made>, tags: ReadonlyArray<string> = []) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* opened(repository)
      const names: ReadonlyArray<ImageName> = tags.map((name) => ({
        repository: Option.none(),
        tag: Option.some(name)
      }))
      const writeOne = ({ bytes, descriptor }: Made) => writer.writeManifest(descriptor, bytes, names)
      yield* Effect.forEach(referrers, writeOne, { concurrency: "unbounded", discard: true })
      yield* writer.commit ?? Effect.void
    })
  )

export const listed = (repository: string) =>
  Effect.map(getManifest(`${repository}:${tag}`), (manifest) => Manifest.children(manifest))

export const put = (url: string, manifests: ReadonlyArray<Descriptor.Descriptor>) =>
  Effect.promise(async () => {
    const index = Manifest.assembleIndex(MediaType.ociIndex, manifests)
    const headers = { "content-type": MediaType.ociIndex }
    await fetch(`${url}/v2/a/manifests/${tag}`, { method: "PUT", headers, body: Buffer.from(index.bytes) })
  })

export const connected = (url: string) =>
  Client.make({ host: new URL(url).host, origin: url }, { repository: Option.none(), scopes: [] })
