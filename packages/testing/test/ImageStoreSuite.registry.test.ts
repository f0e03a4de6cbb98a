import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { describe, it } from "@effect/vitest"
import { Registry, RegistryConfig } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { ImageStoreSuite } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const store = Effect.map(EmbeddedRegistry.EmbeddedRegistry, ({ host }) => ({
  target: Registry.repository(`${host}/team/app`),
  source: (tag = "latest") => Registry.image(`${host}/team/app:${tag}`),
  repository: `${host}/team/app`
}))

// A tag can be seen as soon as it is put; a commit only finishes the lists of referrers.
const options = { atomic: false }

ImageStoreSuite.register(
  { describe, it },
  "Registry over fetch",
  Layer.mergeAll(EmbeddedRegistry.layerMemory(), FetchHttpClient.layer, RegistryConfig.layer()),
  store,
  options
)

ImageStoreSuite.register(
  { describe, it },
  "Registry with the batteries for Node",
  Layer.merge(EmbeddedRegistry.layerMemory(), NodeRegistry.layer()),
  store,
  options
)
