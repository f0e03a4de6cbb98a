/** Pushes an archive to a registry: `push.ts app.tar localhost:15000/team/app:1.0`. */
import { push } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive } from "@effect-registry/tar"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

const [archive = "app.tar", reference = "localhost:15000/team/app:1.0"] = process.argv.slice(2)

const program = push(DockerArchive.file(archive), reference).pipe(
  Effect.timeout("5 minutes"),
  Effect.tap(({ images }) => Console.log(images.map((image) => image.reference).join("\n"))),
  Effect.catchTags({
    RegistryError: (error) => Console.error(error.message, error.hint ?? ""),
    TarReadError: (error) => Console.error(error.message, error.hint ?? ""),
    ValidationError: (error) => Console.error(error.issues.map(({ message }) => message).join("\n"))
  })
)

Effect.runPromise(program.pipe(Effect.provide(NodeRegistry.layer({ url: "http://localhost:15000" })))).catch(
  (error: unknown) => {
    console.error(error)
    process.exitCode = 1
  }
)
