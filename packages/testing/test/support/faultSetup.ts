/** What the operations under faults work on: two images that share a layer, two registries, and their judges. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, TokenServer } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Fixture, Walk } from "../../src/index.js"
import { seed } from "./seed.js"

/** Two images that share their lowest layer, the only one of the first. */
export const images = [1, 2].map((layers) => Fixture.image({ layers, shared: 1, seed: layers, size: 150_000 }))

/** Two such as the platforms of one image. */
export const platforms = Fixture.index(
  ["amd64", "arm64"].map((architecture, at) =>
    Fixture.image({
      format: "oci",
      layers: at + 1,
      shared: 1,
      seed: at + 3,
      size: 150_000,
      platform: { os: "linux", architecture }
    })
  )
)

export interface Place {
  readonly folder: string
  /** A layout folder that holds `platforms`. */
  readonly layout: string
  /** The URL of a registry that holds `images` as `images/0:1` and `images/1:1`, and `platforms` as `platforms:1`. */
  readonly source: string
  /** The URL of an empty one. */
  readonly target: string
  /** The URL of one that wants tokens from whoever comes by a host of `realms`. */
  readonly guarded: string
  /** The URL of its token server, which knows `ann` and the password `secret`. */
  readonly tokens: string
  /** Host of the registry as the client calls it → host of the token server as it is told. */
  readonly realms: Map<string, string>
}

/** For who only wants the name of an operation. */
export const nowhere: Place = {
  folder: "",
  layout: "",
  source: "",
  target: "",
  guarded: "",
  tokens: "",
  realms: new Map()
}

export class Setup extends Context.Tag("test/Setup")<Setup, Place>() {}

const setup = Layer.scoped(
  Setup,
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "faults-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
    )
    const source = yield* EmbeddedRegistry.makeMemory()
    const target = yield* EmbeddedRegistry.makeMemory()
    yield* Effect.forEach(images, (image, at) => seed(`${source.host}/images/${at}`, image, "1"))
    yield* seed(`${source.host}/platforms`, platforms, "1")
    const layout = join(folder, "layout")
    yield* Fixture.ociLayout(layout, [{ image: platforms, tags: ["1"] }])
    const realms = new Map<string, string>()
    const tokens = yield* TokenServer.make({ users: { ann: { password: "secret" } } })
    const guarded = yield* EmbeddedRegistry.makeMemory({
      onRequest: (request) => {
        const realm = realms.get(request.headers.host ?? "")
        if (realm === undefined) return Effect.succeed(undefined)
        return TokenServer.onRequest(tokens, { realm: `http://${realm}/token` })(request)
      }
    })
    return {
      folder,
      layout,
      source: source.url,
      target: target.url,
      guarded: guarded.url,
      tokens: tokens.url,
      realms
    }
  })
)

/** With limits so short that a stall is soon over, and nothing kept between runs. */
export const environment = Layer.provideMerge(
  setup,
  NodeRegistry.layer({ stallTimeout: "1 second", answerTimeout: "1 second", state: false })
)

/** Fails unless the image at the registry is this one, though its layers were compressed on the way. */
export const isImage = (url: string, repository: string, image: Fixture.ImageFixture) =>
  Effect.gen(function* () {
    const graph = yield* Walk.registry(url, repository, "1")
    const { digest } = image.configDescriptor
    if (unpacked.has(`${graph.root} ${digest}`)) return
    const diffIds = [...graph.blobs].flatMap(([each, { bytes }]) =>
      each === digest ? [] : [Fixture.digest(new Uint8Array(gunzipSync(bytes)))]
    )
    if (graph.configs[0] !== digest || diffIds.join() !== image.layers.map(({ diffId }) => diffId).join()) {
      yield* wrong(repository, "is another image")
    }
    unpacked.add(`${graph.root} ${digest}`)
  })

/** Fails unless the registry has `platforms` there. */
export const isPlatforms = (url: string, repository: string) =>
  Effect.flatMap(Walk.registry(url, repository, "1"), (graph) => areRoots([graph], [platforms.descriptor.digest]))

/** Fails unless these are the roots, in this order. */
export const areRoots = (graphs: ReadonlyArray<Walk.Graph>, expected: ReadonlyArray<string>) => {
  const roots = graphs.map(({ root }) => root).join()
  return roots === expected.join() ? Effect.void : wrong("the roots", `are ${roots}`)
}

export const wrong = (subject: string, problem: string) => Effect.fail(new Walk.WalkError({ subject, problem }))

// internal

/** Manifests whose layers were unpacked and found right: the same bytes need it once. */
const unpacked = new Set<string>()
