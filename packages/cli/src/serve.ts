/** `ereg serve`: a registry on this machine. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Page } from "./help.js"
import { forRegistries, global, integer } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"

const options = {
  root: Options.text("root").pipe(
    Options.withPseudoName("DIR"),
    Options.withDescription("The folder that keeps everything (default: a temporary one, removed at the end)"),
    Options.optional
  ),
  port: integer("port", {
    from: 0,
    to: 65_535,
    description: "The port to listen on; 0 takes a free one (default: 15000)"
  }).pipe(Options.withDefault(15_000))
}

export const page: Page = {
  name: "serve",
  summary: "Run a registry on this machine until Ctrl-C",
  synopsis: "",
  arguments: [],
  options,
  without: [...forRegistries, "registry", "authfile"],
  notes: [
    "It listens on 127.0.0.1 only and asks nobody for credentials. Standard output gets its URL, once it answers.",
    "Without --root everything is gone when it ends."
  ],
  examples: [
    ["ereg serve --root registry-data", "A registry that keeps its images, at http://localhost:15000"],
    ["ereg serve --port 0", "One to try things on, on a free port"]
  ]
}

export const command = Command.make("serve", { ...options, global }, ({ global, port, root }) =>
  perform(
    { name: "serve", global },
    Effect.gen(function* () {
      const output = yield* Output
      // Loaded here: no other command needs an HTTP server, and all start faster without one.
      const { EmbeddedRegistry } = yield* Effect.promise(() => import("@effect-registry/server"))
      const server = yield* Option.match(root, {
        onNone: () =>
          Effect.map(Layer.build(EmbeddedRegistry.layerTemp({ port })), Context.get(EmbeddedRegistry.EmbeddedRegistry)),
        onSome: (folder) => EmbeddedRegistry.make({ root: folder, port })
      })
      const { host, root: folder, url } = server
      const temporary = Option.isNone(root)
      yield* output.print([url], { url, host, port: server.port, root: folder, temporary })
      yield* output.note(
        temporary
          ? "images are kept in a temporary folder and are gone when this ends; --root DIR keeps them"
          : `images are kept in ${folder}`
      )
      yield* output.note(`push to it:  ereg push app.tar --registry ${url}`)
      yield* output.note("Ctrl-C ends it")
      return yield* Effect.never
    }).pipe(Effect.scoped)
  )
)
