import { it } from "@effect/vitest"
import { copy, getImageInfo, listRepositories, listTags, pull, push, Registry } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { DockerArchive, OciLayout, validateArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"

const dir = new URL("../../../fixtures/", import.meta.url).pathname
for (const f of [
  "docker20-multi",
  "docker26-multi",
  "podman-multi",
  "docker26-partial",
  "docker26-untagged",
  "oci-archive",
  "oci-multiarch"
]) {
  it.scopedLive(f, () =>
    Effect.gen(function* () {
      const r = yield* EmbeddedRegistry.make({ root: `/tmp/smoke-${f}`, fsync: false })
      yield* Effect.gen(function* () {
        const noRepo = f.startsWith("oci") || f.includes("untagged")
        const result = yield* push(DockerArchive.file(dir + f + ".tar"), noRepo ? [`${r.host}/x/y:1`] : [])
        console.log(f, JSON.stringify(result, null, 1))
        console.log(yield* listRepositories(), JSON.stringify(yield* validateArchive(dir + f + ".tar")))
        const again = yield* push(DockerArchive.file(dir + f + ".tar"), noRepo ? [`${r.host}/x/y:1`] : [])
        console.log(again.blobs)
        for (const i of result.images) {
          const t = `/tmp/smoke-${f}.tar`
          const p = yield* pull(i.reference, DockerArchive.target(t, { force: true }))
          const back = yield* push(DockerArchive.file(t), `${r.host}/back/${i.repository}:1`)
          console.log(
            p.images[0]?.descriptor.digest === i.digest,
            back.images[0]?.digest === i.digest,
            JSON.stringify(back.blobs)
          )
          yield* pull(i.reference, OciLayout.target(`/tmp/smoke-${f}-layout`))
          const l = yield* push(
            OciLayout.folder(`/tmp/smoke-${f}-layout`, { image: i.digest }),
            `${r.host}/layout/${i.repository}:1`
          )
          console.log(l.images[0]?.digest === i.digest)
        }
        console.log(JSON.stringify(yield* getImageInfo(result.images[0]!.reference)).slice(0, 300))
      }).pipe(Effect.provide(NodeRegistry.layer({ url: r.url })))
    })
  )
}
