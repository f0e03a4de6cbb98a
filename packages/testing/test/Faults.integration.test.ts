/** One fault never fails a transfer: every way to fail, at every request of a push of two images. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { BlobTransport, Credentials, push } from "@effect-registry/core"
import { NodeBlobTransport } from "@effect-registry/node"
import { DockerArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Fixture, TcpProxy } from "../src/index.js"
import { environment, images, isImage, isPlatforms, nowhere, type Place, Setup } from "./support/faultSetup.js"
import * as Faults from "./support/faults.js"

/** The layers are compressed on the way. */
const archive = ({ folder, target }: Place): Faults.Operation => ({
  name: "a push of a docker-archive",
  servers: [target],
  prepare: (id) =>
    Effect.promise(async () => {
      const path = join(folder, `${id}.tar`)
      const tagged = images.map((image, at) => ({ image, tags: [`archive/${id}/${at}:1`] }))
      await writeFile(path, Fixture.dockerArchive(tagged))
      return {
        perform: () => push(DockerArchive.file(path)),
        complete: Effect.forEach(images, (image, at) => isImage(target, `archive/${id}/${at}`, image)),
        sound: Effect.forEach(images, (_, at) => Faults.soundTags(target, `archive/${id}/${at}`))
      }
    })
})

const layout = ({ layout, target }: Place): Faults.Operation => ({
  name: "a push of an OCI layout",
  servers: [target],
  prepare: (id) =>
    Effect.succeed({
      perform: ([host]) => push(OciLayout.folder(layout), `${host}/layout/${id}:1`),
      complete: isPlatforms(target, `layout/${id}`),
      sound: Faults.soundTags(target, `layout/${id}`)
    })
})

/** Two chunks a layer, each from a byte array. */
const chunks = (place: Place): Faults.Operation => {
  const whole = layout(place)
  return {
    ...whole,
    name: "a push in chunks",
    only: /^PATCH|^PUT .*\/uploads\//,
    config: { chunkSize: 80_000 },
    prepare: (id) =>
      Effect.map(whole.prepare(id), (run) => ({
        ...run,
        perform: (hosts) =>
          Effect.provideService(
            run.perform(hosts),
            BlobTransport.BlobTransport,
            NodeBlobTransport.make({ streams: false })
          )
      }))
  }
}

/** The first upload is cut as well, so that the registry is asked how far it came. */
const resumed = (place: Place): Faults.Operation => {
  const whole = layout(place)
  return {
    ...whole,
    name: "a push whose first upload breaks off",
    only: /^GET|^PATCH/,
    config: { resumeAbove: 100_000 },
    prepare: (id) =>
      Effect.map(whole.prepare(id), (run) => {
        let cut = false
        return {
          ...run,
          script: ({ headers, method }) => {
            if (cut || !/^(PUT|PATCH)$/.test(method) || Number(headers["content-length"] ?? 1e9) < 100_000) return
            cut = true
            return TcpProxy.cutRequest(70_000)
          }
        }
      })
  }
}

/** Tokens come from a server that can fail as well. */
const guarded = ({ guarded, layout, realms, tokens }: Place): Faults.Operation => ({
  name: "a push to a registry that wants tokens",
  servers: [guarded, tokens],
  only: /\/token/,
  prepare: (id) =>
    Effect.succeed({
      perform: ([registry = "", server = ""]) => {
        realms.set(registry, server)
        return push(OciLayout.folder(layout), `${registry}/guarded/${id}:1`).pipe(
          Effect.provideService(
            Credentials.Credentials,
            Credentials.make({ [registry]: Credentials.password("ann", Redacted.make("secret")) })
          )
        )
      },
      complete: isPlatforms(guarded, `guarded/${id}`),
      sound: Faults.soundTags(guarded, `guarded/${id}`)
    })
})

layer(environment, { excludeTestServices: true, timeout: 60_000 })("a push under a fault", (it) => {
  for (const operation of [archive, layout, chunks, resumed, guarded]) {
    const { name } = operation(nowhere)
    it.effect(
      `completes whatever happens once, to any one request of ${name}`,
      () =>
        Effect.gen(function* () {
          const requests = (yield* Faults.completes(operation(yield* Setup))).join("\n")
          if (operation === resumed) assert.match(requests, /^GET \S+\/blobs\/uploads\//m)
          if (operation === guarded) assert.match(requests, /^(GET|POST) \/token/m)
          if (operation === chunks) assert.match(requests, /^PATCH /m)
        }),
      300_000
    )
    if (operation !== archive && operation !== guarded) continue
    it.effect(
      `fails in time and leaves nothing half done, where nothing works from any one request of ${name} on`,
      () => Effect.flatMap(Setup, (place) => Faults.fails(operation(place))),
      300_000
    )
  }
})
