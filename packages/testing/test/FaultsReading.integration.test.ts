/** One fault never fails a transfer: every way to fail, at every request of a pull and a copy of two images. */
import { access, readFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { copy, pull, Registry } from "@effect-registry/core"
import { DockerArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { TcpProxy, Walk } from "../src/index.js"
import { areRoots, environment, images, isPlatforms, nowhere, type Place, Setup, wrong } from "./support/faultSetup.js"
import * as Faults from "./support/faults.js"

const references = (host: string | undefined) => images.map((_, at) => `${host}/images/${at}:1`)
const roots = images.map(({ descriptor }) => descriptor.digest)

const archive = ({ folder, source }: Place): Faults.Operation => ({
  name: "a pull into an archive",
  servers: [source],
  prepare: (id) => {
    const path = join(folder, `${id}.tar`)
    return Effect.succeed({
      perform: ([host]) => pull(references(host), DockerArchive.target(path)),
      complete: Effect.gen(function* () {
        yield* areRoots(yield* Walk.ociArchive(path), roots)
        const configs = (yield* Walk.dockerArchive(path)).map(({ config }) => config).join()
        const expected = images.map(({ configDescriptor }) => configDescriptor.digest).join()
        if (configs !== expected) yield* wrong(path, `manifest.json names ${configs}`)
      }),
      sound: Effect.flatMap(Effect.option(Effect.tryPromise(() => access(path))), ({ _tag }) =>
        _tag === "Some" ? wrong(path, "is there") : Effect.void
      )
    })
  }
})

const layout = ({ folder, source }: Place): Faults.Operation => ({
  name: "a pull into a layout",
  servers: [source],
  prepare: (id) => {
    const path = join(folder, `${id}-layout`)
    return Effect.succeed({
      perform: ([host]) => pull(references(host), OciLayout.target(path)),
      complete: Effect.flatMap(Walk.layout(path), (graphs) => areRoots(graphs, roots)),
      sound: Effect.gen(function* () {
        const text = yield* Effect.promise(() => readFile(join(path, "index.json"), "utf8").catch(() => "{}"))
        const { manifests = [] }: { readonly manifests?: ReadonlyArray<unknown> } = JSON.parse(text)
        if (manifests.length > 0) yield* Walk.layout(path)
      })
    })
  }
})

/** Every blob is answered with the address of another server that has it. */
const redirected = (place: Place): Faults.Operation => {
  const direct = archive(place)
  return {
    ...direct,
    name: "a pull with redirects",
    servers: [place.source, place.source],
    prepare: (id) =>
      Effect.map(direct.prepare(id), (run) => ({
        ...run,
        script: ({ headers, url }, [registry, storage]) =>
          headers.host === registry && url.includes("/blobs/")
            ? TcpProxy.respond(307, { location: `http://${storage}${url}?signed=1` }, "moved")
            : undefined
      }))
  }
}

const across = ({ source, target }: Place): Faults.Operation => ({
  name: "a copy to another registry",
  servers: [source, target],
  prepare: (id) =>
    Effect.succeed({
      perform: ([from, to]) =>
        copy(Registry.image(`${from}/platforms:1`), Registry.repository(`${to}/copy/${id}`), { concurrency: 1 }),
      complete: isPlatforms(target, `copy/${id}`),
      sound: Faults.soundTags(target, `copy/${id}`)
    })
})

/** Blobs are mounted; five at once. */
const within = ({ source }: Place): Faults.Operation => ({
  name: "a copy within a registry",
  servers: [source],
  concurrency: 5,
  prepare: (id) =>
    Effect.succeed({
      perform: ([host]) =>
        copy(Registry.image(`${host}/platforms:1`), Registry.repository(`${host}/within/${id}`), { concurrency: 5 }),
      complete: isPlatforms(source, `within/${id}`),
      sound: Faults.soundTags(source, `within/${id}`)
    })
})

layer(environment, { excludeTestServices: true, timeout: 60_000 })("reading under a fault", (it) => {
  for (const operation of [archive, layout, redirected, across, within]) {
    const { name } = operation(nowhere)
    it.effect(
      `completes whatever happens once, to any one request of ${name}`,
      () =>
        Effect.gen(function* () {
          const requests = yield* Faults.completes(operation(yield* Setup))
          if (operation === redirected) assert.lengthOf(requests, 2 + 2 * 4)
        }),
      300_000
    )
    if (operation !== archive && operation !== layout && operation !== across) continue
    it.effect(
      `fails in time and leaves nothing half done, where nothing works from any one request of ${name} on`,
      () => Effect.flatMap(Setup, (place) => Faults.fails(operation(place))),
      300_000
    )
  }
})
