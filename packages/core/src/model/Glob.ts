/** Globs over tags. A tag has no slashes and at most 128 characters, so `*` stops at nothing. */
import * as Either from "effect/Either"
import * as Pattern from "./Pattern.js"

/** Whether a tag fits the glob as a whole. */
export type Glob = (tag: string) => boolean

/**
 * `*` is any number of characters, `?` is one, `[a-z]` and `[!a-z]` are one of a set, `{a,b}` is one of several. Else the
 * reason in words: a character that stands in no tag, or a bracket that is not closed.
 */
export const compile = (glob: string): Either.Either<Glob, string> =>
  Either.flatMap(translate(glob), (expression) => Pattern.compile(expression))

// internal

const tagCharacter = /[A-Za-z0-9._-]/
const set = /^\[([!^]?)([A-Za-z0-9._-]+)\]/

/** As a regular expression, the same for all its parts. */
const translate = (glob: string): Either.Either<string, string> => {
  if (glob === "") return Either.left("the pattern is empty")
  let expression = ""
  let open = 0
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at] ?? ""
    if (char === "*") expression += ".*"
    else if (char === "?") expression += "."
    else if (char === "[") {
      const [whole, not, members] = set.exec(glob.slice(at)) ?? []
      if (whole === undefined || members === undefined) {
        return Either.left(`character ${at + 1}: [ begins a set such as [a-z] or [!0-9]`)
      }
      // A dash is a range between two characters, and itself at an end.
      expression += `[${not === "" ? "" : "^"}${members.replace(/^-|-$/g, "\\-")}]`
      at += whole.length - 1
    } else if (char === "{") {
      open += 1
      expression += "(?:"
    } else if (char === "}" && open > 0) {
      open -= 1
      expression += ")"
    } else if (char === "," && open > 0) expression += "|"
    else if (tagCharacter.test(char)) expression += char === "." ? "\\." : char
    else return Either.left(`character ${at + 1}: no tag has a ${JSON.stringify(char)}`)
  }
  return open === 0 ? Either.right(expression) : Either.left("a { is not closed")
}
