/** YAML files of settings, as values that a schema reads. The parser is loaded with the first file. */
import { ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"

/** Longer files were not written by a person. */
export const maxSize = 256 * 1024
/** What anchors may multiply to: a file of a few lines can name a billion things. */
const maxAliases = 200

/**
 * The one document of a text. A number that is not written as it would be printed (`1.0`, `007`) stays text: it is meant
 * as a tag. Fails with a ValidationError, reason `InvalidConfig`, that names line and column.
 */
export const parse = (text: string, subject: string): Effect.Effect<unknown, ValidationError> =>
  Effect.flatMap(
    Effect.promise(() => import("yaml")),
    ({ parseDocument, visit }) =>
      Effect.try({
        try: (): unknown => {
          const document = parseDocument(text, { schema: "core", merge: true, prettyErrors: true })
          const [wrong] = [...document.errors, ...document.warnings]
          if (wrong?.code === "MULTIPLE_DOCS") throw new Error("there are several documents, and one is wanted")
          if (wrong !== undefined) throw wrong
          visit(document, {
            Scalar: (_, node) => {
              const { source, value } = node
              if (typeof value === "number" && source !== undefined && String(value) !== source) node.value = source
            }
          })
          return document.toJS({ maxAliasCount: maxAliases })
        },
        catch: (cause) => {
          const message = cause instanceof Error ? cause.message : String(cause)
          // Below its first line a message shows the text it is about.
          return ValidationError.of(
            "InvalidConfig",
            subject,
            `is no YAML: ${message.split("\n")[0]?.replace(/:$/, "")}`,
            {
              cause
            }
          )
        }
      })
  )
