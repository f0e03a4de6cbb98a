/** What a run that was cut off leaves for the next one: when it is kept, and when it may be taken over. */
import type * as FileSystem from "@effect/platform/FileSystem"
import { RegistryError } from "@effect-registry/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** The end of the name of everything that is not finished. */
export const suffix = ".ereg-partial"

/** Whether the same work could succeed if it went on later: it was interrupted, or the network or the registry gave way. */
export const canGoOn = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  !Cause.isDie(exit.cause) &&
  (Cause.isFailure(exit.cause) || Cause.isInterrupted(exit.cause)) &&
  [...Cause.failures(exit.cause)].every((error) => error instanceof RegistryError && passing.has(error.reason))

/**
 * A file that an earlier run left, open for reading and writing. `None` where it is not there, or is no file of this
 * user alone: a link, or another user's file in a shared folder, would be written through and could change later.
 */
export const reopen = (
  fs: FileSystem.FileSystem,
  path: string,
  owner: Option.Option<number>
): Effect.Effect<Option.Option<{ readonly file: FileSystem.File; readonly size: number }>, never, Scope.Scope> =>
  Effect.gen(function* () {
    // readLink succeeds for symlinks alone.
    if (Option.isSome(yield* Effect.option(fs.readLink(path)))) return Option.none()
    const file = yield* fs.open(path, { flag: "r+" })
    const info = yield* file.stat
    const isOurs =
      info.type === "File" &&
      Option.getOrElse(info.nlink, () => 1) === 1 &&
      (Option.isNone(owner) || Option.isNone(info.uid) || info.uid.value === owner.value)
    return isOurs ? Option.some({ file, size: Number(info.size) }) : Option.none()
  }).pipe(Effect.orElseSucceed(Option.none))

/** Removes a file. One that stays can be taken for nothing else, so that is no failure. */
export const remove = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void> =>
  Effect.ignore(fs.remove(path, { force: true }))

// internal

const passing: ReadonlySet<RegistryError["reason"]> = new Set([
  "Unreachable",
  "ConnectionLost",
  "Timeout",
  "RateLimited",
  "ServerError"
])
