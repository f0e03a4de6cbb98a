/**
 * Regular expressions whose time grows with the length of the text alone. The texts come from registries: with the
 * platform's own engine a single tag of 128 characters could hold a pattern like `(a+)+` for years.
 */
import * as Either from "effect/Either"
import { RE2JS } from "re2js"

/** Longer patterns are mistakes. */
export const maxLength = 1000

/**
 * Whether a whole text matches. The syntax is that of Go and RE2, https://github.com/google/re2/wiki/Syntax, which has
 * neither lookaheads nor backreferences. Else what is wrong with it, in words.
 */
export const compile = (expression: string): Either.Either<(text: string) => boolean, string> => {
  if (expression === "") return Either.left("the pattern is empty")
  if (expression.length > maxLength) return Either.left(`the pattern is longer than ${maxLength} characters`)
  return Either.try({
    try: () => {
      const compiled = RE2JS.compile(expression)
      return (text: string) => compiled.testExact(text)
    },
    catch: (error) => (error instanceof Error ? error.message : String(error)).replace(/^error parsing regexp: /, "")
  })
}
