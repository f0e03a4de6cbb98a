/** Commands with several arguments try all of them. */
import * as Effect from "effect/Effect"
import * as Exit from "./exit.js"
import { Output } from "./output.js"

export interface Attempts<A> {
  readonly done: ReadonlyArray<A>
  readonly failed: {
    readonly any: boolean
    /** For the JSON document: `{ failed, error }` with the first error, or nothing where all went well. */
    readonly json: object
  }
}

/** Runs `attempt` for each argument in turn and tells each failure as it happens. A single argument simply fails. */
export const attemptEach = <A, E, R>(
  command: string,
  arguments_: ReadonlyArray<string>,
  attempt: (argument: string) => Effect.Effect<A, E, R>
): Effect.Effect<Attempts<A>, E, R | Output> =>
  Effect.gen(function* () {
    const output = yield* Output
    const [only, ...others] = arguments_
    if (only !== undefined && others.length === 0) {
      return { done: [yield* attempt(only)], failed: { any: false, json: {} } }
    }
    const results = yield* Effect.forEach(arguments_, (argument) =>
      Effect.matchEffect(attempt(argument), {
        onSuccess: (done): Effect.Effect<Result<A>> => Effect.succeed({ argument, done: [done], failure: undefined }),
        onFailure: (error): Effect.Effect<Result<A>> => {
          const failure = Exit.describe(error, command)
          return Effect.as(output.error(failure), { argument, done: [], failure })
        }
      })
    )
    const failures = results.flatMap(({ argument, failure }) => (failure === undefined ? [] : [{ argument, failure }]))
    const [first] = failures
    return {
      done: results.flatMap(({ done }) => done),
      failed: {
        any: first !== undefined,
        json:
          first === undefined
            ? {}
            : {
                failed: failures.map(({ argument, failure }) => ({ argument, ...Exit.toJson(failure) })),
                ...Exit.toJson(first.failure)
              }
      }
    }
  })

// internal

interface Result<A> {
  readonly argument: string
  readonly done: ReadonlyArray<A>
  readonly failure: Exit.Failure | undefined
}
