import { EmbeddedRegistry, type Faults } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DockerRegistry } from "../../src/index.js"

/** The host of a docker-registry of its own. */
export const startDocker = (options?: DockerRegistry.Options) =>
  Effect.map(DockerRegistry.make(options), ({ host }) => host)

/** The host of an embedded registry of its own. */
export const startEmbedded = (hooks: Faults.Hooks = {}) =>
  Effect.map(
    Layer.build(EmbeddedRegistry.layerTemp(hooks)),
    (context) => Context.get(context, EmbeddedRegistry.EmbeddedRegistry).host
  )
